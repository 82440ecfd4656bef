"""Results folders whose outcome is known by hand: records, timings and predictions of a few rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from helpers.support import make_record, make_timing, save_predictions

from kdbench.results.records import Record, RecordStore
from kdbench.results.timings import put_timing


def right(count: int, of: int = 1000, start: int = 0) -> list[bool]:
    """Return `count` right answers from example `start` onward, round the end, and wrong ones elsewhere."""
    return [(i - start) % of < count for i in range(of)]


def put_row(
    results: Path,
    strategy: str,
    seeds: Mapping[int, Sequence[bool]],
    task: str = "rotten-tomatoes",
    **record: Any,
) -> list[Record]:
    """Write the records and predictions of one row, given by seed whether each example is answered right."""
    made = []
    for seed, answers in seeds.items():
        score = sum(answers) / len(answers)
        one = make_record(strategy, task, score, seed=seed, scored_examples=len(answers), **record)
        RecordStore(results).put(one)
        save_predictions(results, one.key, list(answers))
        made.append(one)
    return made


def put_times(results: Path, milliseconds: Mapping[str, float], task: str = "rotten-tomatoes") -> None:
    """Write a timing of `task` with these medians by the key of the timed cell."""
    put_timing(results, make_timing(dict(milliseconds), task=task))
