"""A classifier's answers class by class, and a tagger's entity type by entity type."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdbench.entities import check_iob2, entity_ends
from kdbench.predictions import Predictions


@dataclass(frozen=True)
class ClassScore:
    """How well one class, or one type of entity, is found; each ratio is 0 where it would divide by zero."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    """How often it is the right answer."""


def class_scores(predictions: Predictions, labels: tuple[str, ...]) -> tuple[ClassScore, ...] | None:
    """Return the scores of each of `labels` (for tokens: each tag, word by word); None for regression."""
    matrix = confusion_matrix(predictions, labels)
    if matrix is None:
        return None
    return _scores(labels, matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1))


def confusion_matrix(predictions: Predictions, labels: tuple[str, ...]) -> npt.NDArray[np.int64] | None:
    """Return (classes, classes): how many units of the row's class are answered by the column's; None for regression.

    Args:
        predictions: of logits with a column a label.
        labels: the classes.
    """
    if predictions.is_regression:
        return None
    classes = len(labels)
    pairs = predictions.references.astype(np.int64) * classes + predictions.predicted.astype(np.int64)
    # scikit-learn's count takes milliseconds to check what it is given, and a board has thousands of these.
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def entity_scores(predictions: Predictions, labels: tuple[str, ...]) -> tuple[ClassScore, ...]:
    """Return the scores of each entity type, read as the metric ``entity-f1`` does: strict IOB2, type and all words.

    Raises:
        UsageError: `labels` are no IOB2 tags.
    """
    check_iob2(labels)
    found, found_types = entity_ends(np.asarray(predictions.predicted), labels, predictions.offsets)
    there, there_types = entity_ends(np.asarray(predictions.references), labels, predictions.offsets)
    right = (found > 0) & (found == there) & (found_types == there_types)
    # `entity_ends` numbers the types by their names in order, and that of "O" is empty.
    names = sorted({label[2:] for label in labels})

    def count(types: npt.NDArray[np.int64], where: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        return np.bincount(types[where], minlength=len(names))

    scores = _scores(
        tuple(names), count(there_types, right), count(found_types, found > 0), count(there_types, there > 0)
    )
    return tuple(score for score in scores if score.name)


def _scores(
    names: tuple[str, ...],
    right: npt.NDArray[np.int64],
    found: npt.NDArray[np.int64],
    there: npt.NDArray[np.int64],
) -> tuple[ClassScore, ...]:
    return tuple(
        ClassScore(
            name=name,
            precision=_ratio(one, answers),
            recall=_ratio(one, support),
            f1=_ratio(2 * one, answers + support),
            support=support,
        )
        for name, one, answers, support in zip(
            names, right.tolist(), found.tolist(), there.tolist(), strict=True
        )
    )


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else 0.0
