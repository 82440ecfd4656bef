"""Build the table of validations from learning curves: each with the training texts and operations until then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from kdbench.board.columns import CURVE_COLUMNS
from kdbench.results.records import LearningCurve, Record


def curve_points(records: Iterable[Record]) -> pd.DataFrame:
    """Return one row per validation during the training of each record, in the order given; `CURVE_COLUMNS`.

    Steps, examples and operations count from the start of the first loop, so that those of a later stage continue where
    the one before ended. Within a loop examples and operations grow evenly with the steps. Records that do not have
    those of each loop divide the whole training's among the loops by their steps.
    """
    points = [
        {"task": record.task.name, "strategy": record.strategy.label, "seed": record.seed, **point}
        for record in records
        for point in _points(record)
    ]
    return pd.DataFrame(points, columns=list(CURVE_COLUMNS)).astype(CURVE_COLUMNS)


def _points(record: Record) -> Iterator[dict[str, Any]]:
    whole = sum(_length(curve) for curve in record.curves)
    steps_before, examples_before = 0, 0.0
    flops_before: float | None = 0.0
    for loop, curve in enumerate(record.curves, start=1):
        length = _length(curve)
        examples, flops = _cost(curve, record, length / whole if whole else 0.0)
        for step, score in zip(curve.validated, curve.scores, strict=True):
            part = step / length
            yield {
                "loop": loop,
                "step": steps_before + step,
                "examples": round(examples_before + part * examples),
                "train_flops": None if flops is None or flops_before is None else flops_before + part * flops,
                "score": score,
            }
        steps_before, examples_before = steps_before + length, examples_before + examples
        flops_before = None if flops is None or flops_before is None else flops_before + flops


def _length(curve: LearningCurve) -> int:
    """Return the steps of a loop; a task's last step of a joint one may come before its last validation."""
    return max((*curve.steps[-1:], *curve.validated[-1:]), default=0)


def _cost(curve: LearningCurve, record: Record, share: float) -> tuple[float, float | None]:
    """Return the examples and operations of a loop that has this `share` of the record's steps."""
    cost = record.cost
    if curve.examples is not None or cost is None:
        return curve.examples or 0, curve.train_flops
    return share * cost.examples, None if cost.train_flops is None else share * cost.train_flops
