"""Compute diagnostics of predictions: scores by class or entity type, calibration, and fidelity to a teacher."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp, rel_entr

from kdbench.api.metric import quotient
from kdbench.api.predictions import Predictions
from kdbench.errors import KdbenchError
from kdbench.evaluation.metrics import check_iob2, entity_ends

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClassScore:
    """Precision, recall and F1 of one class or entity type; each is 0 where it would divide by zero."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    """How often it is the actual class."""


def class_scores(predictions: Predictions, labels: tuple[str, ...]) -> tuple[ClassScore, ...] | None:
    """Return the scores of each of `labels` (for tokens: of each tag, by word); None where answers are not labels."""
    if predictions.is_multi_label:
        predicted, actual = predictions.predicted == 1, predictions.references == 1
        return _scores(labels, (predicted & actual).sum(axis=0), predicted.sum(axis=0), actual.sum(axis=0))
    matrix = confusion_matrix(predictions, labels)
    if matrix is None:
        return None
    return _scores(labels, matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1))


def confusion_matrix(predictions: Predictions, labels: tuple[str, ...]) -> npt.NDArray[np.int64] | None:
    """Return (classes, classes): how many units have the row's actual and the column's predicted class.

    None where answers are not classes; otherwise logits have one column per label.
    """
    if not predictions.is_classification:
        return None
    classes = len(labels)
    pairs = predictions.references.astype(np.int64) * classes + predictions.predicted.astype(np.int64)
    # scikit-learn spends milliseconds on validating its input, and a board has thousands of matrices.
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def entity_scores(predictions: Predictions, labels: tuple[str, ...]) -> tuple[ClassScore, ...]:
    """Return the scores of each entity type, matched as by the metric ``entity-f1``: strict IOB2, type and all words.

    Raises:
        UsageError: `labels` are not IOB2 tags.
    """
    check_iob2(labels)
    predicted, predicted_types = entity_ends(np.asarray(predictions.predicted), labels, predictions.offsets)
    actual, actual_types = entity_ends(np.asarray(predictions.references), labels, predictions.offsets)
    correct = (predicted > 0) & (predicted == actual) & (predicted_types == actual_types)
    # `entity_ends` numbers the types in the order of their names; that of "O" is empty.
    names = sorted({label[2:] for label in labels})

    def count(types: npt.NDArray[np.int64], where: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        return np.bincount(types[where], minlength=len(names))

    scores = _scores(
        tuple(names),
        count(actual_types, correct),
        count(predicted_types, predicted > 0),
        count(actual_types, actual > 0),
    )
    return tuple(score for score in scores if score.name)


def _scores(
    names: tuple[str, ...],
    true_positives: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    actual: npt.NDArray[np.int64],
) -> tuple[ClassScore, ...]:
    return tuple(
        ClassScore(
            name=name,
            precision=_ratio(hits, answers),
            recall=_ratio(hits, support),
            f1=_ratio(2 * hits, answers + support),
            support=support,
        )
        for name, hits, answers, support in zip(
            names, true_positives.tolist(), predicted.tolist(), actual.tolist(), strict=True
        )
    )


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else 0.0


LEAST_UNITS = 10
"""A bin of calibration holds at least this many units."""


def expected_calibration_error(predictions: Predictions, bins: int = 15) -> float | None:
    """Return the root mean squared gap between confidence and accuracy, debiased; None where answers are not classes.

    A unit's confidence is the probability of its answer. Bins hold equally many units, in the order of confidence,
    and at least `LEAST_UNITS`. Luck alone makes a squared gap positive, by the variance of the bin's accuracy, which is
    subtracted (Kumar, Liang & Ma 2019, arXiv:1909.10155, section 5; compared with other estimators by Roelofs et al.
    2022, arXiv:2012.08668). 0 is best, and stands where no gap exceeds luck. With fewer than two units there is none.
    In multi-label classification, here and below, every label of a text is a unit with the classes no and yes.
    """
    predictions = predictions.decisions
    if not predictions.is_classification or len(predictions.references) < 2:
        return None
    squared = float(squared_calibration_error(calibration_statistics(predictions, bins).sum(axis=0)))
    return float(np.sqrt(max(0.0, squared)))


def calibration_statistics(predictions: Predictions, bins: int = 15) -> Floats:
    """Return (units, 3 * bins): what each unit adds to the sums that `squared_calibration_error` reads; answers are classes.

    Of the unit's bin these are 1, whether it is right, and its confidence.
    """
    confidence = _of_classes(predictions.probabilities, predictions.predicted)
    right = predictions.predicted == predictions.references
    parts = np.array_split(
        np.argsort(confidence, kind="stable"), max(1, min(bins, len(right) // LEAST_UNITS))
    )
    statistics = np.zeros((len(right), len(parts), 3))
    for place, part in enumerate(parts):
        statistics[part, place] = np.column_stack([np.ones(len(part)), right[part], confidence[part]])
    return statistics.reshape(len(right), -1)


def squared_calibration_error(totals: Floats) -> Floats:
    """Return (...): the debiased square of the calibration error, from sums of `calibration_statistics` (..., 3 * bins).

    It may be negative where luck explains more than the gaps. A bin of fewer than two units does not count.
    """
    count, right, confidence = np.moveaxis(totals.reshape(*totals.shape[:-1], -1, 3), -1, 0)
    accuracy, mean = quotient(right, count), quotient(confidence, count)
    luck = accuracy * (1 - accuracy) / np.maximum(count - 1, 1)
    squared = np.where(count > 1, (accuracy - mean) ** 2 - luck, 0.0) * count
    return np.asarray(squared.sum(axis=-1) / count.sum(axis=-1))


def negative_log_likelihood(predictions: Predictions) -> float | None:
    """Return the mean over units of -log of the probability of the right label, in nats; None where answers are not classes."""
    predictions = predictions.decisions
    return float(negative_log_likelihoods(predictions).mean()) if predictions.is_classification else None


def negative_log_likelihoods(predictions: Predictions) -> Floats:
    """Return (units,): -log of the probability of the right label, in nats; answers are classes."""
    logits = predictions.logits.astype(np.float64)
    losses: Floats = logsumexp(logits, axis=1) - _of_classes(logits, predictions.references)
    return losses


def _of_classes(values: Floats, classes: npt.NDArray[Any]) -> Floats:
    """Return (units,): of `values` (units, classes) that of each unit's class."""
    return np.take_along_axis(values, classes[:, None].astype(np.int64), axis=1)[:, 0]


def brier_score(predictions: Predictions) -> float | None:
    """Return the squared distance between probabilities and one-hot label, summed over classes, averaged over units.

    From 0, the best, to 2: with two classes, twice the usual score of a single probability. Source: Brier 1950,
    Verification of Forecasts Expressed in Terms of Probability, equation 2. None where answers are not classes.
    """
    predictions = predictions.decisions
    return float(brier_scores(predictions).mean()) if predictions.is_classification else None


def brier_scores(predictions: Predictions) -> Floats:
    """Return (units,): the squared distance between probabilities and one-hot label; answers are classes."""
    distances = predictions.probabilities.astype(np.float64)
    distances[np.arange(len(distances)), predictions.references] -= 1
    squares: Floats = np.square(distances).sum(axis=1)
    return squares


def selective_risks(predictions: Predictions) -> Floats | None:
    """Return (units,): the share of wrong answers among the k most confident, for k from 1 to all units.

    This is the risk-coverage curve of abstaining wherever confidence, the probability of the answer, is below a threshold
    (Geifman & El-Yaniv 2017, arXiv:1705.08500, section 2). Answers of equal confidence count in proportion. None where
    answers are not classes.
    """
    predictions = predictions.decisions
    if not predictions.is_classification:
        return None
    confidence = _of_classes(predictions.probabilities, predictions.predicted)
    order = np.argsort(-confidence, kind="stable")
    wrong = (predictions.predicted != predictions.references)[order].cumsum()
    last = np.append(np.flatnonzero(np.diff(confidence[order])), len(order) - 1)
    counts = np.arange(1, len(order) + 1)
    errors = np.interp(counts, np.append(0, last + 1), np.append(0, wrong[last]))
    return np.asarray(errors / counts)


def area_under_risk_coverage(predictions: Predictions) -> float | None:
    """Return the mean of `selective_risks`, AURC (Geifman et al. 2019, arXiv:1805.08206, section 2); 0 is best."""
    risks = selective_risks(predictions)
    return None if risks is None or not len(risks) else float(risks.mean())


COVERAGE = 0.8


def risk_at_coverage(predictions: Predictions) -> float | None:
    """Return the share of wrong answers among the most confident `COVERAGE` of all, rounded up to whole answers."""
    risks = selective_risks(predictions)
    return None if risks is None or not len(risks) else float(risks[math.ceil(COVERAGE * len(risks)) - 1])


def select_examples(predictions: Predictions, ids: npt.NDArray[np.int64]) -> Predictions:
    """Return the predictions for the examples `ids`, in this order.

    Raises:
        KdbenchError: an example has no prediction.
    """
    missing = ids[~np.isin(ids, predictions.ids)]
    if len(missing):
        raise KdbenchError(
            f"there is no prediction for example {missing[0]} and {len(missing) - 1} more; "
            "take predictions for the same examples"
        )
    order = np.argsort(predictions.ids, kind="stable")
    positions = order[np.searchsorted(predictions.ids, ids, sorter=order)]
    units, offsets, decoded = positions, None, predictions.decoded
    if predictions.offsets is not None:
        starts, sizes = predictions.offsets[positions], np.diff(predictions.offsets)[positions]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        # Each unit's index: the start of its sentence plus its offset within the sentence.
        units = np.repeat(starts - offsets[:-1], sizes) + np.arange(offsets[-1])
    thresholds = predictions.thresholds
    if thresholds is not None and thresholds.ndim == 2:
        thresholds = thresholds[units]
    return Predictions(
        ids,
        predictions.logits[units],
        predictions.references[units],
        offsets,
        None if decoded is None else decoded[units],
        None if predictions.groups is None else predictions.groups[positions],
        thresholds,
    )


def same_units(student: Predictions, teacher: Predictions) -> Predictions:
    """Return `teacher`'s predictions in the order of `student`'s examples.

    Raises:
        KdbenchError: they are for different examples, words or classes.
    """
    if len(student) != len(teacher):
        raise KdbenchError(
            f"predictions for {len(student)} examples cannot be compared with those for {len(teacher)}; "
            "take predictions for the same examples"
        )
    # Usually the order is the same; the teacher's probabilities are then computed once for all students.
    ordered = teacher if _same_examples(student, teacher) else select_examples(teacher, student.ids)
    if student.logits.shape != ordered.logits.shape or not np.array_equal(
        student.references, ordered.references
    ):
        raise KdbenchError(
            "two models' predictions for the same examples have different labels; take predictions for the same task"
        )
    return ordered


def _same_examples(a: Predictions, b: Predictions) -> bool:
    """Return whether both have the same examples in the same order, with the same numbers of units."""
    if a.offsets is None or b.offsets is None:
        return a.offsets is b.offsets and np.array_equal(a.ids, b.ids)
    return np.array_equal(a.ids, b.ids) and np.array_equal(a.offsets, b.offsets)


def label_loyalty(student: Predictions, teacher: Predictions) -> float | None:
    """Return the share of units on which both predict the same label (Xu et al. 2021, arXiv:2109.03228).

    A unit is a text, or a word in token classification. None where answers are not classes.

    Raises:
        KdbenchError: the predictions are not for the same examples.
    """
    student, teacher = student.decisions, teacher.decisions
    agreements = label_agreements(student, teacher)
    return float(agreements.mean()) if student.is_classification else None


def label_agreements(student: Predictions, teacher: Predictions) -> Floats:
    """Return (units,): 1 where both predict the same label, else 0.

    Raises:
        KdbenchError: the predictions are not for the same examples.
    """
    agreements: Floats = (student.predicted == same_units(student, teacher).predicted).astype(np.float64)
    return agreements


def probability_loyalty(student: Predictions, teacher: Predictions) -> float | None:
    """Return the mean over units of 1 - sqrt(JSD) between the two distributions over labels, from 0 to 1.

    JSD is the Jensen-Shannon divergence in bits; its root is a distance (Xu et al. 2021, arXiv:2109.03228).
    None where answers are not classes.

    Raises:
        KdbenchError: the predictions are not for the same examples.
    """
    student, teacher = student.decisions, teacher.decisions
    if not student.is_classification:
        same_units(student, teacher)
        return None
    return float(probability_agreements(student, teacher).mean())


def probability_agreements(student: Predictions, teacher: Predictions) -> Floats:
    """Return (units,): 1 - sqrt(JSD) between the two distributions over labels; answers are classes.

    Raises:
        KdbenchError: the predictions are not for the same examples.
    """
    own, other = student.probabilities, same_units(student, teacher).probabilities
    middle = (own + other) / 2
    twice_in_nats = (rel_entr(own, middle) + rel_entr(other, middle)).sum(axis=1)
    # Rounding may make the divergence of equal distributions negative.
    divergences = np.maximum(twice_in_nats, 0) / (2 * np.log(2))
    agreements: Floats = 1 - np.sqrt(divergences)
    return agreements
