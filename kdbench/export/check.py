"""Check an exported model against the artifact that it was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from kdbench.api.metric import Metric
from kdbench.api.predictions import Predictions
from kdbench.data import PreparedTask
from kdbench.data.batches import Collator
from kdbench.errors import KdbenchError
from kdbench.evaluation.metrics import METRICS
from kdbench.results.quality import quality_of
from kdbench.results.records import Quality
from kdbench.training.predict import predict

_LARGEST_DRIFT = 1e-4
"""Of logits, relative to the largest one if that is above 1."""
_LARGEST_SCORE_DRIFT = 0.01
"""Of the score of a model that was not quantized; another machine may round differently."""


@dataclass(frozen=True)
class Checked:
    """The result of checking an exported model against the artifact."""

    drift: float
    """The largest absolute difference between two logits on the probe examples."""
    probe_examples: int
    quality: Quality
    """On the whole evaluation split."""
    exact: bool
    """Whether the logits had to agree; those of a model quantized at export need not."""


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
    thresholds: Sequence[float] | None = None,
) -> Checked:
    """Compare `exported` with `reference` on the probe's examples and score it on the evaluation split.

    Args:
        reference: the artifact, or its float32 copy if an ONNX graph was exported.
        probe: the artifact's predictions when it was saved; only their example ids are used.
        recorded: the artifact's scores in its run.
        metrics: by default the built-in ones.
        exact: whether a difference is an error; that of a quantized model is only measured.
        thresholds: of the artifact's decisions, if any were chosen.

    Raises:
        KdbenchError: logits or scores differ by more than is allowed.
    """
    rows = task.scored.select(np.flatnonzero(np.isin(np.asarray(task.scored["example"]), probe.ids)))
    answers = partial(predict, collate=collate, device=torch.device("cpu"), thresholds=thresholds)
    actual, expected = answers(exported, rows), answers(reference, rows)
    drift = float(np.abs(actual.logits - expected.logits).max())
    quality = quality_of(answers(exported, task.scored), task.task, metrics)
    if exact:
        largest = _LARGEST_DRIFT * max(1.0, float(np.abs(expected.logits).max()))
        if not drift <= largest:
            raise KdbenchError(
                f"the exported model is not the artifact: on {len(rows)} texts logits differ by up to {drift:.1e}, "
                f"and {largest:.1e} is allowed; nothing was written"
            )
        # Rounding may change the prediction of one example.
        allowed = max(_LARGEST_SCORE_DRIFT, 1.5 / task.scored_examples)
        if abs(quality.score - recorded.score) > allowed:
            raise KdbenchError(
                f"the exported model scores {quality.score:.4f}, but its run recorded {recorded.score:.4f}: the "
                "model or the data has changed since it was scored; nothing was written"
            )
    return Checked(drift, len(actual), quality, exact)
