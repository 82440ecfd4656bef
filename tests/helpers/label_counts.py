"""Results folders with rows at several label counts, whose answers are known by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from helpers.support import make_record, save_predictions

from kdbench.budgets import BUDGETS
from kdbench.results.records import Record, RecordStore
from kdbench.utils.files import content_hash


def put_counts(
    results: Path,
    strategy: str,
    answers: Mapping[int | None, Sequence[bool]],
    *,
    budget: str = "quick",
    seed: int = 0,
    **record: Any,
) -> list[Record]:
    """Write a row's records and predictions at each label count (None: the whole budget), and return the records.

    `answers` tells for each count which examples are answered right.
    """
    made = []
    for count, right in answers.items():
        score = sum(right) / len(right)
        whole = make_record(
            strategy, score=score, budget=budget, seed=seed, scored_examples=len(right), **record
        )
        one = whole if count is None else at_labels(whole, count)
        RecordStore(results).put(one)
        save_predictions(results, one.key, list(right))
        made.append(one)
    return made


def at_labels(record: Record, count: int) -> Record:
    """Return `record` as that of the label count `count`."""
    task = record.task.model_copy(update={"train_examples": count, "validation_examples": min(count, 200)})
    update = {
        "key": content_hash([record.key, count]),
        "budget": BUDGETS[record.budget.name].at_labels(count),
        "task": task,
    }
    return record.model_copy(update=update)
