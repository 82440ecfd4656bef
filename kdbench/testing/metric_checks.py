"""Check that a metric is what its contract says, on random answers to tiny tasks of every kind that it suits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kdbench.api.metric import Metric
from kdbench.api.predictions import Predictions
from kdbench.api.task import TaskKind
from kdbench.errors import UsageError
from kdbench.plugin_checks import checked_metric
from kdbench.testing.plain_import import import_without_torch
from kdbench.testing.report import Check, NotApplicableError, ensure
from kdbench.testing.tiny_tasks import Labelling, labelling_of
from kdbench.training.predict import predictions_of

_EXAMPLES = 24
_WORDS = 3
"""The words of each example, where the kind answers words."""
_CLOSE = 1e-9


@dataclass(frozen=True)
class _Sample:
    """Random answers to a tiny task of `kind`."""

    kind: TaskKind
    labels: tuple[str, ...]
    predictions: Predictions

    @property
    def right(self) -> Predictions:
        """The predictions of a model that is always right."""
        if self.predictions.is_regression:
            values = self.predictions.references.astype(np.float32)
            return replace(self.predictions, logits=values[:, None])
        if self.predictions.is_classification:
            classes = len(self.labels)
            return replace(
                self.predictions, logits=np.eye(classes, dtype=np.float32)[self.predictions.references]
            )
        if self.predictions.is_multi_label:
            logits = (2 * self.predictions.references - 1).astype(np.float32)
            return replace(self.predictions, logits=logits)
        return replace(self.predictions, decoded=self.predictions.references)


class MetricSubject:
    """A metric under check, and answers to score for each kind that it suits and whose labels it accepts."""

    def __init__(self, metric: object) -> None:
        self.metric: Metric = checked_metric(metric)

    def samples(self) -> Iterator[_Sample]:
        """Yield new answers for each kind: those of one check may have been changed by the metric."""
        for kind in sorted(self.metric.kinds):
            labelling = labelling_of(kind)
            for count in (len(labelling.labels), 2):  # some metrics are defined for two classes only
                labels = labelling.labels[:count]
                try:
                    self.metric.check_labels(labels)
                except UsageError:
                    continue
                yield _Sample(kind, labels, _random_predictions(kind, Labelling(labels, labelling.examples)))
                break

    def scores(self) -> Iterator[tuple[_Sample, float]]:
        """Yield each sample with the metric's score of it."""
        samples = list(self.samples())
        if not samples:
            raise NotApplicableError("check_labels accepts none of the tiny tasks' labels")
        for sample in samples:
            yield sample, self.metric.of(sample.predictions, sample.labels)


def _random_predictions(kind: TaskKind, labelling: Labelling) -> Predictions:
    draw = np.random.default_rng(0)
    units = _EXAMPLES * (_WORDS if kind.per_word else 1)
    ids = {label: index for index, label in enumerate(labelling.labels)}
    known = [
        label
        for label in labelling.examples
        if all(name in ids for name in kind.names([label] if kind.per_word else label))
    ]
    references = np.array([kind.encode_label(known[i % len(known)], ids) for i in range(units)])
    logits = draw.normal(size=(units, kind.outputs(labelling.labels))).astype(np.float32)
    return predictions_of(
        kind,
        ids=np.arange(_EXAMPLES),
        logits=logits,
        references=references.astype(np.float32 if references.dtype.kind == "f" else np.int64),
        offsets=np.arange(0, units + 1, _WORDS) if kind.per_word else None,
    )


def import_is_light(subject: MetricSubject) -> None:
    """Importing its module does not import torch."""
    import_without_torch(type(subject.metric))


def stays_in_its_range(subject: MetricSubject) -> None:
    """A score is a number within score_range."""
    low, high = subject.metric.score_range
    for sample, score in subject.scores():
        for value in (score, subject.metric.of(sample.right, sample.labels)):
            ensure(
                low <= value <= high,
                f"{sample.kind}: the score {value} is not within {low} to {high}; correct it, or set score_range",
            )


def prefers_right_answers(subject: MetricSubject) -> None:
    """Only right answers score highest."""
    for sample, score in subject.scores():
        best = subject.metric.of(sample.right, sample.labels)
        ensure(
            best >= score,
            f"{sample.kind}: right answers score {best}, random ones {score}; higher must be better",
        )
        ensure(best > score, f"{sample.kind}: right answers and random ones score alike, {best}")


def sums_by_example(subject: MetricSubject) -> None:
    """The score of a resample, made from sums, is that of the resampled answers."""
    times = np.random.default_rng(1).integers(0, 3, _EXAMPLES)
    for sample, _ in subject.scores():
        statistics = subject.metric.statistics(sample.predictions, sample.labels)
        from_sums = float(subject.metric.rescore(times[None].astype(np.float64), statistics)[0])
        drawn = _repeated(sample.predictions, times)
        directly = subject.metric.of(drawn, sample.labels)
        ensure(
            abs(from_sums - directly) <= _CLOSE,
            f"{sample.kind}: a resample scores {from_sums} by sums and {directly} directly; a unit's statistics must not "
            "depend on other units (or derive from WholeMetric)",
        )


def ignores_the_order(subject: MetricSubject) -> None:
    """The score does not depend on the order of examples."""
    backwards = np.arange(_EXAMPLES)[::-1]
    for sample, score in subject.scores():
        turned = subject.metric.of(_chosen(sample.predictions, backwards), sample.labels)
        ensure(abs(turned - score) <= _CLOSE, f"{sample.kind}: in reverse order {score} becomes {turned}")


def scores_one_example(subject: MetricSubject) -> None:
    """A single example has a score within score_range, too."""
    low, high = subject.metric.score_range
    for sample, _ in subject.scores():
        for predictions in (sample.predictions, sample.right):
            score = subject.metric.of(_chosen(predictions, np.array([0])), sample.labels)
            ensure(
                low <= score <= high,
                f"{sample.kind}: one example scores {score}; where nothing is defined, return the lowest score",
            )


def changes_no_answer(subject: MetricSubject) -> None:
    """It leaves the answers that it gets as they are."""
    for sample in subject.samples():
        arrays = [sample.predictions.predicted, sample.predictions.references]
        before = [array.copy() for array in arrays]
        subject.metric.of(sample.predictions, sample.labels)
        same = all(np.array_equal(one, other) for one, other in zip(arrays, before, strict=True))
        ensure(same, f"{sample.kind}: it writes into the answers; copy them first")


def _repeated(predictions: Predictions, times: np.ndarray) -> Predictions:
    """Return `predictions` with each example as often as `times` says."""
    return _chosen(predictions, np.repeat(np.arange(_EXAMPLES), times))


def _chosen(predictions: Predictions, examples: np.ndarray) -> Predictions:
    """Return the predictions of `examples`, numbered anew."""
    units, offsets = examples, None
    if predictions.offsets is not None:
        units = (examples[:, None] * _WORDS + np.arange(_WORDS)).reshape(-1)
        offsets = np.arange(0, len(units) + 1, _WORDS)
    decoded: Any = predictions.decoded
    return replace(
        predictions,
        ids=np.arange(len(examples)),
        logits=predictions.logits[units],
        references=predictions.references[units],
        offsets=offsets,
        decoded=None if decoded is None else decoded[units],
    )


METRIC_CHECKS: tuple[Check[MetricSubject], ...] = tuple(
    map(
        Check,
        (
            import_is_light,
            stays_in_its_range,
            prefers_right_answers,
            sums_by_example,
            ignores_the_order,
            scores_one_example,
            changes_no_answer,
        ),
    )
)
"""What is checked of every metric, in this order."""
