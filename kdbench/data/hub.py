"""Rows of the model hub's data sets."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from kdbench.api.task import HubSource, Opened
from kdbench.errors import UsageError

if TYPE_CHECKING:
    from datasets import Dataset

_BATCH = 1_000


def read_hub(opened: Opened, split: str, columns: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place (``hub ag_news, train row 2``) and the values by column of each row, classes as their names.

    No code from the hub is run: a data set that only a script can load is refused.

    Args:
        opened: what `Task.load` was given.
        split: the task's name of the split; the source's `splits` may give it another on the hub.
        columns: the columns that are wanted.

    Raises:
        UsageError: the data set, the split or a column is not there, or the hub cannot be reached.
    """
    source = opened.hub
    assert source is not None, "read_hub is for sources opened by way of the hub"
    rows = load_split(source, split)
    for name in columns:
        if name not in rows.column_names:
            raise UsageError(
                f"hub {source} has no column {name!r}, only {', '.join(map(repr, rows.column_names))}"
            )
    names = {name: class_names(rows, name) for name in columns}
    number = 0
    for batch in rows.select_columns(list(columns)).iter(batch_size=_BATCH):
        for values in zip(*(batch[name] for name in columns), strict=True):
            number += 1
            row = {name: _named(value, names[name]) for name, value in zip(columns, values, strict=True)}
            yield f"hub {source}, {split} row {number}", row


def load_split(source: HubSource, split: str) -> Dataset:
    """Return one split of `source`.

    Raises:
        UsageError: there is no such data set or split, it needs a script, or the hub cannot be reached.
    """
    import datasets
    import huggingface_hub

    datasets.disable_progress_bars()
    # What goes wrong is raised below; the library's remarks on each further try would bury it.
    huggingface_hub.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        return datasets.load_dataset(
            source.path,
            source.name,
            split=source.splits.get(split, split),
            revision=source.revision,
        )
    except Exception as error:  # the library raises its own errors, its transport's, and ValueError
        told = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UsageError(
            f"hub {source}, split {split!r}: {told}; check the names and the network, or give the data as local files"
        ) from error


def class_names(rows: Dataset, column: str) -> list[str] | None:
    """Return the names of the classes in `column`, or None where it holds no classes."""
    feature = rows.features[column]
    # A column of lists has its items' feature within.
    names = getattr(getattr(feature, "feature", feature), "names", None)
    return list(names) if names is not None else None


def _named(value: Any, names: list[str] | None) -> Any:
    if names is None or value is None:
        return value
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    # -1 marks a label that is kept secret.
    return names[value] if value >= 0 else None
