"""Define the Metric contract: a score of predictions that can be taken again on resampled examples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from kdbench.api.kinds import TaskKind
from kdbench.errors import UsageError, nearest

if TYPE_CHECKING:
    from kdbench.evaluation.predictions import Predictions

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model answered, unit by unit, without its logits."""

    predicted: npt.NDArray[Any]
    """(units, ...): class indices, in regression values, else what the kind of task decodes logits to."""
    references: npt.NDArray[Any]
    """(units, ...): the right ones, likewise."""
    labels: tuple[str, ...]
    """The classes' names; empty in regression."""
    offsets: npt.NDArray[np.int64] | None = None
    """(examples + 1,): where each example's units begin, as in `Predictions`."""


class Metric(ABC):
    """A score of predictions of which more is better, made to be summed over examples.

    What each example adds to some sums, and a formula on the sums: then a resample of the examples costs one product
    of matrices. A score is a fraction and never NaN. What is no formula on sums is a `WholeMetric`.
    """

    name: str
    """What the user types."""
    title: str = ""
    """What it is in a few words; by default its name."""
    kinds: frozenset[TaskKind]
    """The task kinds that it suits."""
    score_range: tuple[float, float] = (0.0, 1.0)
    """The least and the greatest value that `score` can return."""
    higher_is_better: ClassVar[bool] = True
    """Always: boards rank by it, and the best validated weights are kept by it; turn an error round (1 - error)."""

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
        return quotient(totals[..., 0], totals[..., 1])

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


class WholeMetric(Metric):
    """A score that is no formula on sums: it is computed from the answers themselves, anew on every resample.

    That is right and slow: an interval calls `compute` 2,000 times a model. The sums that a resample's answers are
    read back from are, where answers are one of few classes, how often each pair of predicted and right class is
    drawn; else, for every example, how often it is drawn and its answers times that, which takes memory by the square
    of the number of examples, hence `most_examples`. Answers are to whole texts: no kind `per_word` is suited.
    """

    most_examples: int = 1000
    """Scored examples at most, where answers are not one of few classes."""

    @abstractmethod
    def compute(self, predicted: npt.NDArray[Any], references: npt.NDArray[Any]) -> float:
        """Return the score of some examples, of which one may occur several times, in no order that means anything.

        Args:
            predicted: (examples,) or (examples, ...), as in `Answers`.
            references: likewise.
        """

    def statistics(self, predictions: Predictions, labels: tuple[str, ...]) -> Floats:
        """Return (examples, k): what each example adds to the sums that `score` reads.

        Raises:
            UsageError: the answers are to words, or to more examples than `most_examples`.
        """
        if predictions.offsets is not None:
            raise UsageError(f"metric {self.name!r} is computed on whole texts, not on words; choose another")
        # By their numbers, so that every model's examples stand in the same columns.
        order = np.argsort(predictions.ids, kind="stable")
        predicted, references = predictions.predicted[order], predictions.references[order]
        sorted_rows = self.checked_statistics(Answers(predicted, references, labels))
        rows = np.empty_like(sorted_rows)
        rows[order] = sorted_rows
        return rows

    def unit_statistics(self, answers: Answers) -> Floats:
        """Return (examples, k): where each example's answers stand, then 1 and the numbers that an answer has.

        Raises:
            UsageError: there are more examples than `most_examples`.
        """
        count, classes = len(answers.references), len(answers.labels)
        if answers.references.ndim == 1 and answers.references.dtype.kind == "i" and classes**2 <= 3 * count:
            pairs = np.zeros((count, classes**2))
            pairs[np.arange(count), answers.references * classes + answers.predicted] = 1
            return np.column_stack([pairs, np.ones(count), np.zeros(count)])
        if count > self.most_examples:
            raise UsageError(
                f"metric {self.name!r} is computed anew on each resample, which takes memory by the square of the "
                f"examples: {count:,} are scored, {self.most_examples:,} at most; lower the budget's scored_examples"
            )
        predicted, references = (
            np.asarray(values, dtype=np.float64).reshape(count, -1)
            for values in (answers.predicted, answers.references)
        )
        width = predicted.shape[1]
        rows = np.zeros((count, count, 1 + 2 * width))
        own = np.arange(count)
        rows[own, own] = np.column_stack([np.ones(count), predicted, references])
        return np.column_stack([rows.reshape(count, -1), np.ones(count), np.full(count, float(width))])

    def score(self, totals: Floats) -> Floats:
        """Return (...): the scores of samples whose statistics sum to `totals` (..., k)."""
        # Resamples of classes often come out alike; each that differs is computed once.
        rows, places = np.unique(totals.reshape(-1, totals.shape[-1]), axis=0, return_inverse=True)
        scores = np.array([self.compute(*_answers_of(row)) for row in rows], dtype=np.float64)
        return scores[places.reshape(-1)].reshape(totals.shape[:-1])


def _answers_of(total: Floats) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the predicted and the right answers that `WholeMetric.unit_statistics` sums up to `total` (k,)."""
    rows, draws, width = total[:-2], total[-2], round(total[-1] / total[-2])
    if width == 0:
        classes = round(len(rows) ** 0.5)
        pairs = np.repeat(np.arange(classes**2), rows.round().astype(int))
        return pairs % classes, pairs // classes
    by_example = rows.reshape(-1, 1 + 2 * width)
    times = by_example[:, 0].round().astype(int)
    assert times.sum() == round(draws)
    drawn = np.repeat(by_example[times > 0, 1:] / times[times > 0, None], times[times > 0], axis=0)
    predicted, references = np.split(drawn, 2, axis=1)
    return (predicted[:, 0], references[:, 0]) if width == 1 else (predicted, references)


def get_metric(name: str, metrics: Mapping[str, Metric]) -> Metric:
    """Return the metric called `name` of the registered `metrics`.

    Raises:
        UsageError: there is none; hints at the nearest.
    """
    if name not in metrics:
        raise UsageError(f"unknown metric {name!r}{nearest(name, list(metrics))}")
    return metrics[name]


def check_suits(name: str, kind: TaskKind, metrics: Mapping[str, Metric]) -> None:
    """Make sure that the metric called `name` is registered and suits tasks of `kind`.

    Raises:
        UsageError: it is not or does not; names those that do.
    """
    if kind not in get_metric(name, metrics).kinds:
        suiting = [other for other, metric in metrics.items() if kind in metric.kinds]
        instead = f"choose one of {', '.join(suiting)}" if suiting else "no registered metric does"
        raise UsageError(f"metric {name!r} does not suit a {kind} task; {instead}")


def quotient(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> Floats:
    """Return the quotient, 0 where the denominator is 0."""
    zeros = np.zeros(np.shape(numerator))
    found: Floats = np.divide(numerator, denominator, out=zeros, where=denominator > 0)
    return found
