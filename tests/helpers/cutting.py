"""What the tests of transforms share."""

from __future__ import annotations

from typing import Any

import torch
from helpers.training import no_report
from torch import Tensor, nn

from kdbench import Transform
from kdbench.api.bench import model_inputs
from kdbench.training.bench import TrainingBench
from kdbench.training.experiment import Experiment


def transformed(
    transform: type[Transform], fitted: nn.Module, experiment: Experiment, **params: Any
) -> tuple[nn.Module, TrainingBench]:
    """Return what `transform` makes of `fitted`, and its bench."""
    strategy = transform(transform.Params(**params))
    bench = TrainingBench(experiment, strategy, 0, no_report, fitted)
    return strategy.finalize(strategy.fit(bench), bench), bench


@torch.no_grad()
def answers(model: nn.Module, experiment: Experiment, count: int = 16) -> Tensor:
    """Return the logits of the first `count` scored rows."""
    rows = experiment.task.scored
    batch = experiment.collate([rows[i] for i in range(count)])
    logits: Tensor = model.eval()(**model_inputs(batch)).logits
    return logits
