"""Tell what a file of answers that was the teacher holds, and what one answer was worth in labels and in money."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from kdbench.board.columns import ANSWER_COLUMNS, WORTH_COLUMNS
from kdbench.board.crossings import AtCount
from kdbench.results.records import Record
from kdbench.stats.reaching import reached


@dataclass(frozen=True, eq=False)
class AnswerTables:
    """Files of answers, and the rows that learned from them."""

    contents: pd.DataFrame
    """One row per task and label count; `ANSWER_COLUMNS`."""
    worth: pd.DataFrame
    """One row per task, label count and row that learned from answers; `WORTH_COLUMNS`."""


def answer_tables(
    counts_by_task: Mapping[str, Sequence[AtCount]], records: Iterable[Record], price: float | None = None
) -> AnswerTables | None:
    """Return the tables of the rows at each task's label counts; None where no teacher is a file of answers.

    Args:
        counts_by_task: the rows at each count, the fewest labels first; one count alone has no worth in labels.
        records: those of the rows.
        price: of one answer, in any currency.
    """
    by_key = {record.key: record for record in records}
    if not any(record.model.answers for record in by_key.values()):
        return None
    contents, worth = [], []
    for task, counts in counts_by_task.items():
        for at in counts:
            of_count = [by_key[cell["key"]] for cells in at.cells.values() for cell in cells]
            answered = [record for record in of_count if record.model.answers is not None]
            if answered:
                contents.append(_contents(max(answered, key=lambda record: record.finished_at), at.labels))
            for row, cells in at.cells.items():
                learned = [by_key[cell["key"]] for cell in cells]
                if row in at.readable and all(record.cost and record.cost.answers for record in learned):
                    worth.append(_worth(task, row, learned, at, counts, price))
    return AnswerTables(
        contents=pd.DataFrame(contents, columns=list(ANSWER_COLUMNS)).astype(ANSWER_COLUMNS),
        worth=pd.DataFrame(worth, columns=list(WORTH_COLUMNS)).astype(WORTH_COLUMNS),
    )


def _contents(record: Record, labels: int) -> dict[str, Any]:
    info = record.model.answers
    assert info is not None
    return {
        "task": record.task.name,
        "labels": labels,
        "file": record.model.teacher,
        "metric": record.task.metric,
        "train_examples": record.task.train_examples,
        **info.model_dump(exclude={"forms"}),
        "forms": ";".join(f"{form}:{number}" for form, number in info.forms.items()),
    }


def _worth(
    task: str,
    row: str,
    records: Sequence[Record],
    at: AtCount,
    counts: Sequence[AtCount],
    price: float | None,
) -> dict[str, Any]:
    """Return what the answers were worth to `row` at the count `at`, compared with its control at all `counts`."""
    control = records[0].strategy.control
    answers = fmean(record.cost.answers for record in records if record.cost is not None)
    line: dict[str, Any] = {
        "task": task,
        "strategy": row,
        "control": control,
        "labels": at.labels,
        "seeds": len(records),
        "answers": answers,
        "score": _mean_score(at, row),
        "price": None if price is None else price * answers,
    }
    if control not in at.readable:
        return line
    difference = at.answers.difference(row, control)
    line |= {
        "difference": difference.difference,
        "difference_low": difference.low,
        "difference_high": difference.high,
    }
    if price is not None and difference.difference > 0:
        line["price_per_point"] = price * answers / (100 * difference.difference)
    examples = at.answers.examples(row)
    curve = [one for one in counts if control in one.readable and one.answers.examples(control) == examples]
    if len(curve) < 2:
        return line
    found = reached(
        [one.labels for one in curve],
        [one.answers.resampled(control) for one in curve],
        at.answers.resampled(row),
    )
    line |= {"fewest": curve[0].labels, "most": curve[-1].labels}
    for name, count in (("", found.count), ("_low", found.low), ("_high", found.high)):
        line[f"reached{name}"] = bool(count < np.inf)
        if np.isfinite(count):
            line[f"equivalent_labels{name}"] = count
            line[f"labels_per_answer{name}"] = (count - at.labels) / answers
    return line


def _mean_score(at: AtCount, row: str) -> float:
    return fmean(cell["score"] for cell in at.cells[row])
