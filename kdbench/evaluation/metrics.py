"""The metrics: each a sum over examples and a formula on the sums, so that a resample costs one matrix product.

Every score is a fraction of which more is better, and none is ever NaN: where a formula would divide by zero (no
entity anywhere, constant answers), the score is 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from kdbench.api.task import TaskKind
from kdbench.errors import UsageError, nearest
from kdbench.evaluation.predictions import Predictions

Integers = npt.NDArray[np.int64]


def check_iob2(labels: tuple[str, ...]) -> None:
    """Raise a UsageError unless every label is ``O``, ``B-type`` or ``I-type``."""
    for label in labels:
        if label != "O" and not label.startswith(("B-", "I-")):
            raise UsageError(
                f"entities are scored on IOB2 tags (O, B-type, I-type), but one label is {label!r}"
            )


def entity_ends(
    tags: Integers, labels: tuple[str, ...], offsets: Integers | None
) -> tuple[Integers, Integers]:
    """Return for each word where the entity that opens with it ends, and its type; both are (words,).

    An entity opens with B- alone: an I- that continues no entity of its type belongs to none. The end is the place of
    the first word behind the entity, and 0 for a word with which none opens.

    Args:
        tags: (words,), indices of `labels`.
        labels: IOB2 tags.
        offsets: (sentences + 1,), where each sentence begins, the number of words at last; None: all are one sentence.
    """
    type_names = sorted({label[2:] for label in labels})
    types = np.array([type_names.index(label[2:]) for label in labels], dtype=np.int64)[tags]
    prefixes = np.array([label[:1] for label in labels], dtype=np.str_)[tags]
    # A run is a word and the I- words of its type that follow; it is an entity where that word is a B-.
    opens_run = (prefixes != "I") | (types != np.roll(types, 1))
    first_words = np.zeros(1, dtype=np.int64) if offsets is None else offsets
    opens_run[first_words[first_words < len(tags)]] = True
    next_run = np.append(np.flatnonzero(opens_run), len(tags))
    return np.where(prefixes == "B", next_run[np.cumsum(opens_run)], 0), types


Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model answered, unit by unit, without its logits."""

    predicted: npt.NDArray[Any]
    """(units,): class indices or, in regression, values."""
    references: npt.NDArray[Any]
    """(units,): the right ones."""
    labels: tuple[str, ...]
    """The classes' names; empty in regression."""
    offsets: npt.NDArray[np.int64] | None = None
    """(examples + 1,): where each example's units begin, as in `Predictions`."""


class Metric(ABC):
    """A score of predictions, made to be summed over examples; `EvaluateMetric` gives it the form of `evaluate`."""

    name: ClassVar[str]
    """What the user types."""
    kinds: ClassVar[frozenset[TaskKind]]
    """The task kinds that it suits."""
    score_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """The least and the greatest value that `score` can return."""

    def check(self, kind: TaskKind, labels: tuple[str, ...]) -> None:
        """Make sure that the metric suits a task of `kind` and `labels`.

        Raises:
            UsageError: it does not; names those that suit the kind, or the label.
        """
        if kind not in self.kinds:
            suiting = ", ".join(name for name, metric in METRICS.items() if kind in metric.kinds)
            raise UsageError(f"metric {self.name!r} does not suit a {kind} task; choose one of {suiting}")
        self.check_labels(labels)

    def check_labels(self, labels: tuple[str, ...]) -> None:
        """Raise a UsageError where the metric is not defined on `labels`."""
        return

    def statistics(self, predictions: Predictions, labels: tuple[str, ...]) -> Floats:
        """Return (examples, k): what each example adds to the sums that `score` reads.

        Raises:
            UsageError: the metric is not defined on `labels`.
        """
        offsets = predictions.offsets
        units = self.checked_statistics(
            Answers(predictions.predicted, predictions.references, labels, offsets)
        )
        if offsets is None:
            return units
        # Differences of running sums: `np.add.reduceat` would give an empty sentence its neighbour's value.
        running = np.vstack([np.zeros((1, units.shape[1])), units.cumsum(axis=0)])
        return np.diff(running[offsets], axis=0)

    def score(self, totals: Floats) -> Floats:
        """Return (...): the scores of samples whose statistics sum to `totals` (..., k); here column 0 by column 1."""
        return _ratio(totals[..., 0], totals[..., 1])

    def of(self, predictions: Predictions, labels: tuple[str, ...]) -> float:
        """Return the score of all `predictions`."""
        return float(self.score(self.statistics(predictions, labels).sum(axis=0)))

    def checked_statistics(self, answers: Answers) -> Floats:
        """Return (units, k): what each unit adds to the sums that `score` reads.

        Raises:
            UsageError: the metric is not defined on the answers' labels.
        """
        self.check_labels(answers.labels)
        return self.unit_statistics(answers)

    @abstractmethod
    def unit_statistics(self, answers: Answers) -> Floats:
        """Return (units, k): what each unit adds to the sums that `score` reads, where the labels suit."""


class _ClassMetric(Metric):
    """A metric of one class a unit."""

    kinds = frozenset({TaskKind.SEQUENCE_CLASSIFICATION, TaskKind.TOKEN_CLASSIFICATION})


class Accuracy(_ClassMetric):
    """The share of units whose class is right; in token classification a unit is a word."""

    name = "accuracy"

    def unit_statistics(self, answers: Answers) -> Floats:
        """Return (units, 2): right or not, and 1."""
        return _columns(answers.predicted == answers.references, np.ones(len(answers.references)))


class F1(_ClassMetric):
    """F1 of the positive class, which is the second of two labels."""

    name = "f1"
    kinds = frozenset({TaskKind.SEQUENCE_CLASSIFICATION})

    def check_labels(self, labels: tuple[str, ...]) -> None:
        """Raise a UsageError unless there are two labels."""
        if len(labels) != 2:
            raise UsageError(f"metric 'f1' needs two labels, but there are {len(labels)}; use 'macro-f1'")

    def unit_statistics(self, answers: Answers) -> Floats:
        """Return (units, 2): the terms of F1."""
        found, there = answers.predicted == 1, answers.references == 1
        return _f1_terms(found & there, found, there)


class MacroF1(_ClassMetric):
    """The mean of the classes' F1 over those classes that are predicted or there."""

    name = "macro-f1"

    def unit_statistics(self, answers: Answers) -> Floats:
        """Return (units, 2 * classes): the first term of each class's F1, then the second of each."""
        classes = np.arange(len(answers.labels))
        found, there = answers.predicted[:, None] == classes, answers.references[:, None] == classes
        return _f1_terms(found & there, found, there)

    def score(self, totals: Floats) -> Floats:
        """Return the mean F1."""
        numerators, denominators = np.split(totals, 2, axis=-1)
        f1 = _ratio(numerators, denominators)
        return _ratio(f1.sum(axis=-1), (denominators > 0).sum(axis=-1))


class Matthews(_ClassMetric):
    """Matthews' correlation of two or more classes (Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006)."""

    name = "matthews"
    score_range = (-1.0, 1.0)

    def unit_statistics(self, answers: Answers) -> Floats:
        """Return (units, 1 + 2 * classes): right or not, then the predicted and the actual class, one-hot."""
        one_hot = np.eye(len(answers.labels))
        right = answers.predicted == answers.references
        return _columns(right, one_hot[answers.predicted], one_hot[answers.references])

    def score(self, totals: Floats) -> Floats:
        """Return the correlation, 0 where one class alone is predicted or there."""
        right = totals[..., 0]
        predicted, actual = np.split(totals[..., 1:], 2, axis=-1)
        count = actual.sum(axis=-1)
        covariance = right * count - (predicted * actual).sum(axis=-1)
        variances = (count**2 - (predicted**2).sum(axis=-1)) * (count**2 - (actual**2).sum(axis=-1))
        return _ratio(covariance, np.sqrt(variances))


class Pearson(Metric):
    """Pearson's correlation of predicted and actual values."""

    name = "pearson"
    score_range = (-1.0, 1.0)
    kinds = frozenset({TaskKind.SEQUENCE_REGRESSION})

    def unit_statistics(self, answers: Answers) -> Floats:
        """Return (units, 6): 1, x, y, x², y² and xy of the centred values."""
        x, y = answers.predicted.astype(np.float64), answers.references.astype(np.float64)
        # The median, never far from the mean, keeps the sums' digits, and leaves exactly 0 of constants.
        x, y = x - np.median(x), y - np.median(y)
        return _columns(np.ones(len(x)), x, y, x * x, y * y, x * y)

    def score(self, totals: Floats) -> Floats:
        """Return the correlation, 0 where either side is constant."""
        count, x, y, xx, yy, xy = np.moveaxis(totals, -1, 0)
        variance_x, variance_y = count * xx - x * x, count * yy - y * y
        # A resample of one value over and over leaves rounding noise in the place of a zero variance.
        varies = (variance_x > 1e-12 * count * xx) & (variance_y > 1e-12 * count * yy)
        scale = np.sqrt(np.where(varies, variance_x * variance_y, 0.0))
        return np.clip(_ratio(count * xy - x * y, scale), -1.0, 1.0)


class Spearman(Pearson):
    """Spearman's rank correlation, ties averaged.

    The ranks are those in the whole sample: its value is exact; a resample's, which is not ranked anew, is close.
    """

    name = "spearman"

    def unit_statistics(self, answers: Answers) -> Floats:
        """Return (units, 6): the moments of the ranks."""
        ranks = Answers(rankdata(answers.predicted), rankdata(answers.references), answers.labels)
        return super().unit_statistics(ranks)


class EntityF1(Metric):
    """Micro F1 of entities in strict IOB2: one counts where its type and all of its words are right.

    An entity opens with B- alone: an I- that continues no entity of its type belongs to none.
    """

    name = "entity-f1"
    kinds = frozenset({TaskKind.TOKEN_CLASSIFICATION})

    def check_labels(self, labels: tuple[str, ...]) -> None:
        """Raise a UsageError unless every label is an IOB2 tag."""
        check_iob2(labels)

    def unit_statistics(self, answers: Answers) -> Floats:
        """Return (words, 2): the terms of F1, each entity counted at its first word."""
        ends, types = entity_ends(answers.predicted, answers.labels, answers.offsets)
        true_ends, true_types = entity_ends(answers.references, answers.labels, answers.offsets)
        right = (ends > 0) & (ends == true_ends) & (types == true_types)
        return _f1_terms(right, ends > 0, true_ends > 0)


def _f1_terms(right: Flags, found: Flags, there: Flags) -> Floats:
    """Return what each unit adds to 2 * right and to found + there, the two sums of which F1 is the quotient."""
    return _columns(2.0 * right, 1.0 * found + there)


def _columns(*parts: npt.NDArray[Any]) -> Floats:
    return np.column_stack([part.astype(np.float64) for part in parts])


def _ratio(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> Floats:
    """Return the quotient, 0 where the denominator is 0."""
    zeros = np.zeros(np.shape(numerator))
    quotient: Floats = np.divide(numerator, denominator, out=zeros, where=denominator > 0)
    return quotient


METRICS: Mapping[str, type[Metric]] = {
    metric.name: metric for metric in (Accuracy, F1, MacroF1, Matthews, Pearson, Spearman, EntityF1)
}
"""The metrics by name."""


def get_metric(name: str) -> Metric:
    """Return a new metric of the name `name`.

    Raises:
        UsageError: there is none; hints at the nearest.
    """
    if name not in METRICS:
        raise UsageError(f"unknown metric {name!r}{nearest(name, list(METRICS))}")
    return METRICS[name]()
