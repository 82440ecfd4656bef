"""Score predictions as records do."""

from __future__ import annotations

from collections.abc import Mapping

from kdbench.api.metric import Metric, get_metric
from kdbench.api.predictions import Predictions
from kdbench.api.task import Task
from kdbench.evaluation.metrics import METRICS
from kdbench.results.records import Quality
from kdbench.stats.intervals import bootstrap_interval


def quality_of(predictions: Predictions, task: Task, metrics: Mapping[str, Metric] = METRICS) -> Quality:
    """Return every metric of `task` on `predictions`, and the headline's 95% interval by bootstrap over examples or groups of them."""
    headline = get_metric(task.metric, metrics)
    statistics = headline.statistics(predictions, task.labels)
    low, high = bootstrap_interval(
        statistics[None],
        headline.score,
        rescore=headline.own_rescore,
        groups=predictions.group_places,
    )
    names = (task.metric, *task.metrics)
    scores = {name: get_metric(name, metrics).of(predictions, task.labels) for name in names}
    return Quality(score=scores[task.metric], low=low, high=high, metrics=scores)
