"""What the tests of distillation share: a strategy's loss on one batch, and its weights stage by stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kdbench import Strategy
from kdbench.api.bench import Batch, model_inputs
from kdbench.training.bench import TrainingBench


@dataclass(frozen=True)
class LossOnBatch:
    """What a strategy's loss is given, and what it says."""

    value: Tensor
    value_of_teacher: Tensor
    """The loss where the teacher's own outputs stand in the student's place."""
    student: Any
    teacher: Any
    batch: Batch


@torch.no_grad()
def loss_on_batch(strategy: Strategy, bench: TrainingBench) -> LossOnBatch:
    """Return the loss that `strategy` trains its student on, over six rows; nothing is trained."""
    taken = []

    def take(model: nn.Module, *, loss: Any, **settings: Any) -> nn.Module:
        taken.append((model.eval(), loss))
        return model

    bench.train = take  # type: ignore[method-assign, assignment]
    strategy.fit(bench)
    ((model, loss),) = taken
    batch = bench.experiment.collate([bench.task.train[i] for i in range(6)])
    student, teacher = (
        one(**model_inputs(batch), output_hidden_states=True) for one in (model, bench.teacher)
    )
    return LossOnBatch(loss(student, batch, teacher), loss(teacher, batch, teacher), student, teacher, batch)


def weights_by_stage(strategy: Strategy, bench: TrainingBench) -> list[dict[str, Tensor]]:
    """Fit `strategy`; return its model's weights before the first of its trainings and after each."""
    train, seen = bench.train, []

    def note(model: nn.Module) -> None:
        seen.append({name: weight.detach().clone() for name, weight in model.named_parameters()})

    def noting(model: nn.Module, **settings: Any) -> nn.Module:
        if not seen:
            note(model)
        trained = train(model, **settings)
        note(trained)
        return trained

    bench.train = noting  # type: ignore[method-assign, assignment]
    strategy.fit(bench)
    return seen
