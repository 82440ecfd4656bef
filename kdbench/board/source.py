"""Where a board's records come from: a results folder, a board's folder, or a file of records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kdbench.errors import UsageError
from kdbench.json_files import parse_json
from kdbench.records import Record, RecordStore
from kdbench.results import RECORDS_FILE
from kdbench.timings import Timing, load_timings


@dataclass(frozen=True)
class Source:
    """All records and timings of one place, of whatever budget and base model."""

    name: str
    """What messages call it."""
    root: Path
    """The folder whose ``predictions/`` and ``logs/`` belong to the records."""
    records: tuple[Record, ...]
    timings: tuple[Timing, ...]
    unreadable: tuple[str, ...] = ()
    """A line for each file, or line of one, that could not be read."""
    conflicts: Mapping[str, str] = field(default_factory=dict)
    """By the key of a cell: how what several places hold of it differs. A line names no folder but by its last name,
    as it may be published."""


def read_results(results: Path) -> Source:
    """Return what the results folder `results` holds, which may be nothing."""
    records, unreadable = RecordStore(results).load()
    timings, unreadable_timings = load_timings(results)
    return Source(str(results), results, tuple(records), tuple(timings), (*unreadable, *unreadable_timings))


def holds_records(place: Path) -> bool:
    """Return whether `place` looks like something that `read_source` reads."""
    return (place / "records").is_dir() or (place / RECORDS_FILE).is_file() or place.name.endswith(".jsonl")


def read_source(place: Path) -> Source:
    """Return what `place` holds: a results folder, the folder of a board, or a ``records.jsonl``.

    Raises:
        UsageError: there is no such place, or not one record that can be read in it.
    """
    if not place.exists():
        raise UsageError(f"there is no {place}; name a results folder, a board's folder or a {RECORDS_FILE}")
    if not holds_records(place):
        raise UsageError(
            f"{place} holds neither records/ nor {RECORDS_FILE}; name a results folder, a board's folder or a"
            f" {RECORDS_FILE}"
        )
    source = read_results(place) if (place / "records").is_dir() else _read_lines(place)
    if not source.records:
        why = f"; {source.unreadable[0]}" if source.unreadable else ""
        raise UsageError(f"{place} holds no record that can be read{why}")
    return source


def _read_lines(place: Path) -> Source:
    """Return the records of a file of them, with what stands beside it."""
    file = place / RECORDS_FILE if place.is_dir() else place
    records, unreadable = [], []
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read ({error.strerror}); put that right or name another"
        ) from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        record, problem = parse_json(Record, line)
        if record is None:
            unreadable.append(f"skipped {file}, line {number}: {problem}")
        else:
            records.append(record)
    timings, unreadable_timings = load_timings(file.parent)
    return Source(str(place), file.parent, tuple(records), tuple(timings), (*unreadable, *unreadable_timings))
