"""Train a smaller student on labels alone: the control of every distillation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench import Bench, Strategy, StudentParams, TaskKind

if TYPE_CHECKING:
    from torch import nn


class HardLabels(Strategy):
    """Train a student on the labels alone, the baseline for every distillation."""

    name = "hard-labels"
    title = "Small student, labels alone (control)"
    citation = "Sajjad et al. 2023, On the Effect of Dropping Layers of Pre-trained Transformer Models, arXiv:2004.03844"
    family = "control"
    learning_rates = {**dict.fromkeys(TaskKind, 7e-5), TaskKind.TOKEN_CLASSIFICATION: 2e-4}
    Params = StudentParams
    params: StudentParams

    def fit(self, bench: Bench) -> nn.Module:
        return bench.train(bench.student(self.params))
