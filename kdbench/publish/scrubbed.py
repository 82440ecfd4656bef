"""Records and timings without a word about the machine and the folders that they were made in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from kdbench.json_files import Part
from kdbench.publish.privacy import Private, last_name
from kdbench.results.records import Record, RecordStore
from kdbench.results.timings import load_timings, put_timing

_T = TypeVar("_T", bound=Part)


def scrubbed_record(record: Record, private: Private) -> Record:
    """Return `record` with every text scrubbed, and models that were given as folders by the folder's last name."""
    model = record.model.model_copy(
        update={
            "name": last_name(record.model.name),
            "teacher": record.model.teacher and last_name(record.model.teacher),
        }
    )
    strategy = record.strategy
    # Two rows may differ in nothing but the file that a parameter names: its last name stays.
    row = {
        "params": _scrubbed(strategy.params, private, keep_name=True),
        "label": private.scrub(strategy.label, keep_name=True),
        "control": strategy.control and private.scrub(strategy.control, keep_name=True),
    }
    named = record.model_copy(update={"model": model, "strategy": strategy.model_copy(update=row)})
    return _rebuilt(named, private)


def write_scrubbed_results(
    results: Path, keys: set[str], folder: Path, private: Private
) -> tuple[list[Record], list[str]]:
    """Write the records of `keys` and their timings, scrubbed, as a results folder, and return the records.

    The second value has a line for each strategy whose name alone told two of its rows apart and no longer does.
    """
    records = [record for record in RecordStore(results).load()[0] if record.key in keys]
    published = [scrubbed_record(record, private) for record in records]
    store = RecordStore(folder)
    for record in published:
        store.put(record)
    for timing in load_timings(results)[0]:
        models = tuple(model for model in timing.models if model.key in keys)
        if models:
            put_timing(folder, _rebuilt(timing.model_copy(update={"models": models}), private))
    return published, _merged_rows(records, published)


def _merged_rows(records: list[Record], published: list[Record]) -> list[str]:
    labels: dict[str, set[str]] = {}
    for before, after in zip(records, published, strict=True):
        labels.setdefault(after.strategy.label, set()).add(before.strategy.label)
    return [
        f"{len(before)} rows would both be called {after!r}: they differ in a path that is not published"
        for after, before in labels.items()
        if len(before) > 1
    ]


def _rebuilt(item: _T, private: Private) -> _T:
    return type(item).model_validate(_scrubbed(item.model_dump(mode="json"), private))


def _scrubbed(value: Any, private: Private, *, keep_name: bool = False) -> Any:
    """Return JSON data with every text scrubbed, keys of objects included."""
    match value:
        case str():
            return private.scrub(value, keep_name=keep_name)
        case dict():
            return {
                private.scrub(key): _scrubbed(item, private, keep_name=keep_name)
                for key, item in value.items()
            }
        case list() | tuple():
            return [_scrubbed(item, private, keep_name=keep_name) for item in value]
    return value
