"""What the tests of training share: the toy tasks by kind, a budget of seconds, and what a training tells."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdbench.api.task import TaskKind
from kdbench.budgets import Budget

KINDS = ("toy-sentiment", "toy-tags", "toy-score")
"""A toy task of each kind."""

every_kind = pytest.mark.parametrize(
    "task", [KINDS[0], *(pytest.param(task, marks=pytest.mark.slow) for task in KINDS[1:])]
)
"""For tests that train a model: on a task of each kind, of which the quick tests take one."""

TINY_BUDGET = Budget(
    name="tiny",
    train_examples=64,
    validation_examples=16,
    scored_examples=40,
    steps=dict.fromkeys(TaskKind, 4),
    batch_size=dict.fromkeys(TaskKind, 8),
    max_length=32,
    evaluations=2,
    latency_rounds=20,
)
"""Seconds, not quality: four steps of eight examples."""


def changed_budget(steps: int, train_examples: int = 64) -> Budget:
    """Return the tiny budget with another number of steps, validated once, on other examples."""
    settings = {
        "steps": dict.fromkeys(TaskKind, steps),
        "train_examples": train_examples,
        "evaluations": 1,
    }
    return TINY_BUDGET.model_copy(update=settings)


def no_report(*progress: object) -> None:
    """Take a report and tell nobody."""


class Reports:
    """A report that remembers what it was told."""

    def __init__(self) -> None:
        self.all: list[tuple[str, int, int, float | None]] = []
        """Phase, step, steps of the stage, and loss."""

    def __call__(self, phase: str, step: int, steps: int, loss: float | None) -> None:
        """Take a report."""
        self.all.append((phase, step, steps, loss))

    @property
    def losses(self) -> list[tuple[int, float]]:
        """The steps of its stage and the loss of each step of training, the teacher's left out."""
        return [
            (steps, loss) for phase, _, steps, loss in self.all if phase == "training" and loss is not None
        ]


def same(first: nn.Module, second: nn.Module) -> bool:
    """Return whether two models have the same weights, bit for bit."""
    mine, other = first.state_dict(), second.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[name], other[name]) for name in mine)
