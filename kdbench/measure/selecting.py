"""Some of a model's predictions, and two models' brought into one order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kdbench.errors import KdbenchError
from kdbench.predictions import Predictions


def select_examples(predictions: Predictions, ids: npt.NDArray[np.int64]) -> Predictions:
    """Return the predictions for the examples `ids`, in this order.

    Raises:
        KdbenchError: there is none for one of them.
    """
    missing = ids[~np.isin(ids, predictions.ids)]
    if len(missing):
        raise KdbenchError(
            f"there is no prediction for example {missing[0]} and {len(missing) - 1} more; "
            "take predictions for the same examples"
        )
    order = np.argsort(predictions.ids, kind="stable")
    found = order[np.searchsorted(predictions.ids, ids, sorter=order)]
    if predictions.offsets is None:
        return Predictions(ids, predictions.logits[found], predictions.references[found])
    starts, sizes = predictions.offsets[found], np.diff(predictions.offsets)[found]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    # Each unit's place: its sentence's start, and how far behind that it stands.
    units = np.repeat(starts - offsets[:-1], sizes) + np.arange(offsets[-1])
    return Predictions(ids, predictions.logits[units], predictions.references[units], offsets)


def same_units(student: Predictions, teacher: Predictions) -> Predictions:
    """Return `teacher`'s predictions in the order of `student`'s examples.

    Raises:
        KdbenchError: they are for other examples, other words of them, or other classes.
    """
    if len(student) != len(teacher):
        raise KdbenchError(
            f"predictions for {len(student)} examples cannot be held against those for {len(teacher)}; "
            "take predictions for the same examples"
        )
    # The usual case is the order that there is; the teacher's probabilities are then computed once for all students.
    ordered = teacher if _alike(student, teacher) else select_examples(teacher, student.ids)
    if student.logits.shape != ordered.logits.shape or not np.array_equal(
        student.references, ordered.references
    ):
        raise KdbenchError(
            "two models' predictions for the same examples have other right answers; take predictions for the same task"
        )
    return ordered


def _alike(a: Predictions, b: Predictions) -> bool:
    """Return whether both have the same examples in the same order, of the same numbers of units."""
    if a.offsets is None or b.offsets is None:
        return a.offsets is b.offsets and np.array_equal(a.ids, b.ids)
    return np.array_equal(a.ids, b.ids) and np.array_equal(a.offsets, b.offsets)
