"""What a metric of a plugin's own must do, and what is computed from it on resampled examples."""

import numpy as np
import pytest

from kdbench import EvaluateMetric, TaskKind, WholeMetric
from kdbench.api.predictions import Predictions
from kdbench.errors import UsageError
from kdbench.evaluation.metrics import METRICS
from kdbench.stats.intervals import bootstrap_interval

CLASSES = frozenset({TaskKind.SEQUENCE_CLASSIFICATION})


class MedianError(WholeMetric):
    """1 less the median distance: no formula on sums."""

    name = "median-error"
    kinds = frozenset({TaskKind.SEQUENCE_REGRESSION})

    def compute(self, predicted, references):
        return 1 - float(np.median(np.abs(predicted - references)))


class WholeAccuracy(WholeMetric):
    """Accuracy without the help of sums."""

    name = "whole-accuracy"
    kinds = CLASSES

    def compute(self, predicted, references):
        return float(np.mean(predicted == references))


def classes(seed, count=40):
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(count, 3)).astype(np.float32)
    return Predictions(np.arange(count), logits, draw.integers(3, size=count))


def values(ids, predicted, references):
    return Predictions(
        np.array(ids), np.array(predicted, dtype=np.float32)[:, None], np.array(references, dtype=np.float32)
    )


def test_a_whole_metric_has_the_interval_that_sums_would_give():
    labels, answers = ("a", "b", "c"), classes(1)
    whole, summed = WholeAccuracy(), METRICS["accuracy"]
    assert whole.of(answers, labels) == pytest.approx(summed.of(answers, labels))
    intervals = [
        bootstrap_interval(metric.statistics(answers, labels)[None], metric.score)
        for metric in (whole, summed)
    ]
    assert intervals[0] == pytest.approx(intervals[1])


def test_values_are_read_back_from_the_sums_of_a_resample():
    answers = values([0, 1, 2], [1.0, 2.5, 4.0], [1.5, 2.5, 7.0])
    metric = MedianError()
    assert metric.of(answers, ()) == 1 - 0.5
    rows = metric.statistics(answers, ())
    assert metric.score(2 * rows[2] + rows[1]) == 1 - 3.0  # distances 3, 3 and 0


def test_models_that_answered_in_another_order_share_the_columns():
    a = values([0, 1], [1.0, 2.0], [1.0, 3.0])
    b = values([1, 0], [5.0, 4.0], [3.0, 1.0])
    metric = MedianError()
    mixed = metric.statistics(a, ())[0] + metric.statistics(b, ())[0]  # example 0 of a, example 1 of b
    assert metric.score(mixed) == 1 - np.median([0.0, 2.0])


def test_too_many_examples_are_refused_with_what_to_do():
    count = MedianError.most_examples + 1
    answers = values(range(count), np.zeros(count), np.zeros(count))
    with pytest.raises(UsageError, match=r"'median-error'.*1,001 are scored, 1,000 at most; lower"):
        MedianError().of(answers, ())


class FromEvaluate:
    """Stands for an `evaluate.Metric`."""

    def compute(self, *, predictions, references, scale=1.0):
        share = float(np.mean(np.asarray(predictions) == np.asarray(references)))
        return {"share": share * scale, "nothing": float("nan")}


def test_a_metric_of_evaluate_is_loaded_once_and_at_its_first_score():
    loaded = []

    def load():
        loaded.append(1)
        return FromEvaluate()

    metric = EvaluateMetric(load, "half-share", key="share", scale=0.5)
    assert loaded == []
    answers = classes(2)
    expected = 0.5 * METRICS["accuracy"].of(answers, ("a", "b", "c"))
    assert metric.of(answers, ("a", "b", "c")) == pytest.approx(expected)
    metric.of(answers, ("a", "b", "c"))
    assert loaded == [1]


def test_a_key_that_it_does_not_compute_is_an_error_and_what_is_undefined_is_zero():
    labels, answers = ("a", "b", "c"), classes(3)
    with pytest.raises(UsageError, match="'f' computes share, nothing, not 'f'; set its key"):
        EvaluateMetric(FromEvaluate, "f").of(answers, labels)
    assert EvaluateMetric(FromEvaluate, "nothing").of(answers, labels) == 0
