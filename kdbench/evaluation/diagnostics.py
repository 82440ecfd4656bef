"""A classifier's answers class by class, and a tagger's entity type by entity type."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import rel_entr

from kdbench.errors import KdbenchError
from kdbench.evaluation.metrics import check_iob2, entity_ends
from kdbench.evaluation.predictions import Predictions


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
    """Return the scores of each of `labels` (for tokens: each tag, word by word), or None where answers are no classes."""
    matrix = confusion_matrix(predictions, labels)
    if matrix is None:
        return None
    return _scores(labels, matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1))


def confusion_matrix(predictions: Predictions, labels: tuple[str, ...]) -> npt.NDArray[np.int64] | None:
    """Return (classes, classes): how many units of the row's class are answered by the column's.

    None where answers are not classes.

    Args:
        predictions: of logits with a column a label.
        labels: the classes.
    """
    if not predictions.is_classification:
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


BINS = 15


def expected_calibration_error(predictions: Predictions, bins: int = BINS) -> float | None:
    """Return the mean gap between confidence and accuracy, over bins of equal width (Guo et al. 2017, equation 3).

    A unit's confidence is the largest of its probabilities; bin i takes those in ((i - 1) / bins, i / bins]. 0 is best.
    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv:1706.04599. None where answers are not classes.
    """
    if not predictions.is_classification:
        return None
    confidence = predictions.probabilities.max(axis=1)
    right = predictions.predicted == predictions.references
    bin_of = np.ceil(confidence * bins).astype(int).clip(1, bins) - 1
    gaps = np.bincount(bin_of, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def brier_score(predictions: Predictions) -> float | None:
    """Return the squared distance between probabilities and the right answer, summed over classes; the units' mean.

    From 0, which is best, to 2: two classes give twice what is common for a single probability. Source: Brier 1950,
    Verification of Forecasts Expressed in Terms of Probability, equation 2. None where answers are not classes.
    """
    if not predictions.is_classification:
        return None
    distances = predictions.probabilities.copy()
    distances[np.arange(len(distances)), predictions.references] -= 1
    return float(np.square(distances).sum(axis=1).mean())


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
    decoded = predictions.decoded
    if predictions.offsets is None:
        return Predictions(
            ids,
            predictions.logits[found],
            predictions.references[found],
            decoded=None if decoded is None else decoded[found],
        )
    starts, sizes = predictions.offsets[found], np.diff(predictions.offsets)[found]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    # Each unit's place: its sentence's start, and how far behind that it stands.
    units = np.repeat(starts - offsets[:-1], sizes) + np.arange(offsets[-1])
    return Predictions(
        ids,
        predictions.logits[units],
        predictions.references[units],
        offsets,
        None if decoded is None else decoded[units],
    )


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


def label_loyalty(student: Predictions, teacher: Predictions) -> float | None:
    """Return the share of units on which both predict the same label (Xu et al. 2021, arXiv:2109.03228).

    A unit is a text, or a word in token classification. None where answers are not classes.

    Raises:
        KdbenchError: the predictions are not for the same examples.
    """
    ordered = same_units(student, teacher)
    if not student.is_classification:
        return None
    return float(np.mean(student.predicted == ordered.predicted))


def probability_loyalty(student: Predictions, teacher: Predictions) -> float | None:
    """Return the mean over units of 1 - sqrt(JSD) between the two distributions over labels, from 0 to 1.

    JSD is the Jensen-Shannon divergence in bits; its root is a distance (Xu et al. 2021, arXiv:2109.03228).
    None where answers are not classes.

    Raises:
        KdbenchError: the predictions are not for the same examples.
    """
    ordered = same_units(student, teacher)
    if not student.is_classification:
        return None
    own, other = student.probabilities, ordered.probabilities
    middle = (own + other) / 2
    twice_in_nats = (rel_entr(own, middle) + rel_entr(other, middle)).sum(axis=1)
    # Between equal distributions rounding may leave a divergence below zero, which has no root.
    divergences = np.maximum(twice_in_nats, 0) / (2 * np.log(2))
    return float(1 - np.sqrt(divergences).mean())
