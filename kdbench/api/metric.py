"""Define the Metric contract: a score of predictions that is cheap to recompute on bootstrap resamples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from kdbench.api.kinds import TaskKind
from kdbench.errors import UsageError, nearest

if TYPE_CHECKING:
    from kdbench.api.predictions import Predictions

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answers:
    """Predicted and gold answers, unit by unit, without logits."""

    predicted: npt.NDArray[Any]
    """(units, ...): class indices; values in regression; otherwise whatever the task's kind decodes logits to."""
    references: npt.NDArray[Any]
    """(units, ...): the gold answers, in the same form."""
    labels: tuple[str, ...]
    """The class names; empty in regression."""
    offsets: npt.NDArray[np.int64] | None = None
    """(examples + 1,): the index of each example's first unit, as in `Predictions`."""


class Metric(ABC):
    """A score of predictions, higher is better, computed by a formula from sums over examples.

    `statistics` returns each example's contribution to the sums and `score` applies the formula, so that scoring all
    bootstrap resamples takes one matrix product. A score is a fraction and never NaN. A score that is not a formula of
    sums is a `WholeMetric`.
    """

    name: str
    """The name that users type."""
    title: str = ""
    """A short description; by default the name."""
    kinds: frozenset[TaskKind]
    """The task kinds that the metric is defined for."""
    score_range: tuple[float, float] = (0.0, 1.0)
    """The smallest and the largest value that `score` can return."""
    higher_is_better: ClassVar[bool] = True
    """Always True: boards rank by the score, and training keeps the weights with the best; return 1 - error for an error."""

    def check_labels(self, labels: tuple[str, ...]) -> None:
        """Raise a UsageError if the metric is not defined for `labels`."""
        return

    def statistics(self, predictions: Predictions, labels: tuple[str, ...]) -> Floats:
        """Return (examples, k): each example's contribution to the sums that `score` reads.

        Raises:
            UsageError: the metric is not defined for `labels`.
        """
        answers = Answers(predictions.predicted, predictions.references, labels, predictions.offsets)
        return predictions.sum_by_example(self.checked_statistics(answers))

    def score(self, totals: Floats) -> Floats:
        """Return (...): the scores of samples whose statistics sum to `totals` (..., k); by default column 0 / column 1."""
        return quotient(totals[..., 0], totals[..., 1])

    def rescore(self, counts: Floats, statistics: Floats) -> Floats:
        """Return (resamples,): the scores of resamples, in which the examples are drawn `counts` (resamples, examples) times.

        By default the `score` of the sums of `statistics` (examples, k).
        """
        return self.score(counts @ statistics)

    @property
    def own_rescore(self) -> Callable[[Floats, Floats], Floats] | None:
        """The `rescore` of a metric that defines its own; None where scoring sums, of many models at once, does."""
        return None if type(self).rescore is Metric.rescore else self.rescore

    def of(self, predictions: Predictions, labels: tuple[str, ...]) -> float:
        """Return the score of all `predictions`."""
        return float(self.score(self.statistics(predictions, labels).sum(axis=0)))

    def checked_statistics(self, answers: Answers) -> Floats:
        """Return (units, k): each unit's contribution to the sums, after checking the labels.

        Raises:
            UsageError: the metric is not defined for the answers' labels.
        """
        self.check_labels(answers.labels)
        return self.unit_statistics(answers)

    @abstractmethod
    def unit_statistics(self, answers: Answers) -> Floats:
        """Return (units, k): each unit's contribution to the sums that `score` reads; the labels are already checked."""


class WholeMetric(Metric):
    """A score that is not a formula of sums: it is recomputed from the answers on every resample.

    This is exact but slow: an interval calls `compute` 2,000 times per model. The answers of a resample are restored
    from sums. With few classes, these are the counts of each pair of predicted and gold class; otherwise they are, for
    every example, how often it was drawn and its answers times that count, which takes memory quadratic in the number
    of examples, hence `most_examples`. Answers are per text: kinds that are `per_word` are not supported.
    """

    most_examples: int = 1000
    """The maximum number of scored examples, unless answers are one of few classes."""

    @abstractmethod
    def compute(self, predicted: npt.NDArray[Any], references: npt.NDArray[Any]) -> float:
        """Return the score of a sample of examples, in arbitrary order; an example may occur several times.

        Args:
            predicted: (examples,) or (examples, ...), as in `Answers`.
            references: the gold answers, in the same form.
        """

    def statistics(self, predictions: Predictions, labels: tuple[str, ...]) -> Floats:
        """Return (examples, k): each example's contribution to the sums that `score` reads.

        Raises:
            UsageError: the answers are per word, or there are more examples than `most_examples`.
        """
        if predictions.offsets is not None:
            raise UsageError(f"metric {self.name!r} is computed on whole texts, not on words; choose another")
        # Sorted by id, so that an example has the same column for every model.
        order = np.argsort(predictions.ids, kind="stable")
        predicted, references = predictions.predicted[order], predictions.references[order]
        sorted_rows = self.checked_statistics(Answers(predicted, references, labels))
        rows = np.empty_like(sorted_rows)
        rows[order] = sorted_rows
        return rows

    def unit_statistics(self, answers: Answers) -> Floats:
        """Return (examples, k): a one-hot encoding of each example's answers, then 1 and the width of an answer.

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
                f"metric {self.name!r} is recomputed on each resample, which takes memory quadratic in the number of "
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
        # With few classes, many resamples are identical; each distinct one is computed once.
        rows, places = np.unique(totals.reshape(-1, totals.shape[-1]), axis=0, return_inverse=True)
        scores = np.array([self.compute(*_answers_of(row)) for row in rows], dtype=np.float64)
        return scores[places.reshape(-1)].reshape(totals.shape[:-1])


def _answers_of(total: Floats) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the predicted and the gold answers whose `WholeMetric.unit_statistics` sum to `total` (k,)."""
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
    """Return the metric called `name` from the registered `metrics`.

    Raises:
        UsageError: there is none; suggests the nearest name.
    """
    if name not in metrics:
        raise UsageError(f"unknown metric {name!r}{nearest(name, list(metrics))}")
    return metrics[name]


def check_suits(name: str, kind: TaskKind, metrics: Mapping[str, Metric]) -> None:
    """Check that the metric called `name` is registered and defined for tasks of `kind`.

    Raises:
        UsageError: it is not; names the metrics that are.
    """
    if kind not in get_metric(name, metrics).kinds:
        suiting = [other for other, metric in metrics.items() if kind in metric.kinds]
        instead = f"choose one of {', '.join(suiting)}" if suiting else "no registered metric does"
        raise UsageError(f"metric {name!r} does not suit a {kind} task; {instead}")


def quotient(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> Floats:
    """Return the quotient, 0 where the denominator is 0."""
    zeros = np.zeros(np.shape(numerator))
    ratios: Floats = np.divide(numerator, denominator, out=zeros, where=denominator > 0)
    return ratios
