"""An exported model held against the artifact that it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import datasets
import numpy as np
import torch
from torch import nn

from kdbench.api.metric import Metric, get_metric
from kdbench.api.task import Task
from kdbench.data import PreparedTask
from kdbench.data.batches import Collator
from kdbench.errors import KdbenchError
from kdbench.evaluation.metrics import METRICS
from kdbench.evaluation.predictions import Predictions
from kdbench.results.records import Quality
from kdbench.stats import bootstrap_interval
from kdbench.training.predict import predict

_LARGEST_DRIFT = 1e-4
"""Of logits, as a share of the largest where that is above 1."""
_LARGEST_LOSS = 0.01
"""Of a score whose model is not quantized; what another machine's rounding may do."""


@dataclass(frozen=True)
class Checked:
    """What an exported model answered, beside the artifact."""

    drift: float
    """The largest difference of a logit on the probe texts."""
    probe_examples: int
    quality: Quality
    """On the whole scored split."""
    exact: bool
    """Whether the two had to answer alike; a model that was quantized on the way need not."""


def check_export(
    exported: nn.Module,
    reference: nn.Module,
    task: PreparedTask,
    collate: Collator,
    probe: Predictions,
    recorded: Quality,
    *,
    metrics: Mapping[str, Metric] = METRICS,
    exact: bool,
) -> Checked:
    """Hold `exported` against `reference` on the probe's examples and score it on the scored split.

    Args:
        reference: the artifact, or its float32 copy where a graph was made.
        probe: what the artifact answered when it was saved; only tells which examples.
        recorded: what the artifact scored in its run.
        metrics: the registered ones; by default kdbench's own alone.
        exact: whether a difference is an error; a quantized model differs, and is only measured.

    Raises:
        KdbenchError: the two do not answer alike.
    """
    rows = _rows_of(task.scored, probe)
    answers, expected = _answers(exported, rows, collate), _answers(reference, rows, collate)
    drift = float(np.abs(answers.logits - expected.logits).max())
    quality = quality_of(_answers(exported, task.scored, collate), task.task, metrics)
    if exact:
        largest = _LARGEST_DRIFT * max(1.0, float(np.abs(expected.logits).max()))
        if not drift <= largest:
            raise KdbenchError(
                f"the exported model is not the artifact: on {len(rows)} texts logits differ by up to {drift:.1e}, "
                f"and {largest:.1e} is allowed; nothing was written"
            )
        # One example that falls to the other side by rounding is no other model.
        allowed = max(_LARGEST_LOSS, 1.5 / task.scored_examples)
        if abs(quality.score - recorded.score) > allowed:
            raise KdbenchError(
                f"the exported model scores {quality.score:.4f} where its run recorded {recorded.score:.4f}: the "
                "results folder's model or data is another than when it was scored; nothing was written"
            )
    return Checked(drift, len(answers), quality, exact)


def quality_of(answers: Predictions, task: Task, metrics: Mapping[str, Metric] = METRICS) -> Quality:
    """Return every metric of `task` on `answers`, and the headline's 95% interval by bootstrap over examples."""
    headline = get_metric(task.metric, metrics)
    statistics = headline.statistics(answers, task.labels)
    low, high = bootstrap_interval(statistics[None], headline.score)
    names = (task.metric, *task.metrics)
    scores = {name: get_metric(name, metrics).of(answers, task.labels) for name in names}
    return Quality(score=scores[task.metric], low=low, high=high, metrics=scores)


def _rows_of(scored: datasets.Dataset, probe: Predictions) -> datasets.Dataset:
    return scored.select(np.flatnonzero(np.isin(np.asarray(scored["example"]), probe.ids)))


def _answers(model: nn.Module, rows: datasets.Dataset, collate: Collator) -> Predictions:
    return predict(model, rows, collate, device=torch.device("cpu"))
