"""Read rows of the model hub's data sets."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from kdbench.api.task import HubSource, Opened
from kdbench.errors import UsageError

if TYPE_CHECKING:
    from datasets import Dataset

_BATCH = 1_000


def read_hub(opened: Opened, split: str, columns: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each row's location (``hub ag_news, train row 2``) and its values of `columns`, with class names for classes.

    No code from the hub is run: a data set that needs a loading script is refused. `opened` is the argument of
    `Task.load`; `split` is the task's name of the split, which the source's `splits` may map to another on the hub.

    Raises:
        UsageError: the data set, the split or a column does not exist, or the hub cannot be reached.
    """
    source = opened.hub
    assert source is not None, "read_hub is for sources opened from the hub"
    rows = _load_split(source, split)
    for name in columns:
        if name not in rows.column_names:
            raise UsageError(
                f"hub {source} has no column {name!r}, only {', '.join(map(repr, rows.column_names))}"
            )
    names = {name: class_names(rows.features[name]) for name in columns}
    number = 0
    for batch in rows.select_columns(list(columns)).iter(batch_size=_BATCH):
        for values in zip(*(batch[name] for name in columns), strict=True):
            number += 1
            where = f"hub {source}, {split} row {number}"
            yield (
                where,
                {
                    name: with_class_names(where, value, names[name])
                    for name, value in zip(columns, values, strict=True)
                },
            )


def _load_split(source: HubSource, split: str) -> Dataset:
    import datasets
    import huggingface_hub

    datasets.disable_progress_bars()
    # Errors are raised below; the library's log messages on each retry would bury them.
    huggingface_hub.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        name = source.splits.get(split, split)
        return datasets.load_dataset(source.path, source.name, split=name, revision=source.revision)
    except Exception as error:  # the library raises its own errors, its transport's, and ValueError
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UsageError(
            f"hub {source}, split {split!r}: {reason}; check the names and the network, or give the data as local files"
        ) from error


def class_names(feature: Any) -> list[str] | None:
    """Return the class names of a column's `feature`, or None if it does not contain classes."""
    # The feature of a column of lists contains the feature of the items.
    names = getattr(getattr(feature, "feature", feature), "names", None)
    return list(names) if names is not None else None


def with_class_names(where: str, value: Any, names: list[str] | None) -> Any:
    """Return `value` with the class's name for its number, if the column has `names`; -1 marks a hidden label.

    Raises:
        UsageError: there is no such class; names the row as `where`.
    """
    if names is None or not isinstance(value, int | list):
        return value
    if isinstance(value, list):
        return [with_class_names(where, item, names) for item in value]
    if value >= len(names):
        raise UsageError(f"{where}: class {value} of {len(names)}, counted from 0; write the file again")
    return names[value] if value >= 0 else None
