"""Distil the teacher's logits, with the labelled class and the other classes apart (DKD)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from kdbench import Bench, Range, Strategy, StudentParams, Task, TaskKind

if TYPE_CHECKING:
    from torch import nn


class DKD(Strategy):
    """Weight what the teacher says of the labelled class and of the other classes separately.

    Zhao et al. 2022, section 3.2. In the divergence of plain distillation, the second part has the teacher's probability of
    the other classes as its weight, which is small where the teacher is sure.
    """

    class Params(StudentParams):
        temperature: float = Field(4.0, gt=0, description="T, which divides the logits of both models")
        alpha: float = Field(1.0, ge=0, description="weight of the labelled class against all others")
        beta: float = Field(8.0, ge=0, description="weight of the distribution over the other classes")
        hard_weight: float = Field(1.0, ge=0, description="weight of the labels")
        ramp: float = Field(
            0.08,
            ge=0,
            le=1,
            description="share of the steps over which the weight of the teacher rises linearly from 0",
        )

    name = "dkd"
    title = "Decoupled distillation of logits (DKD)"
    citation = "Zhao et al. 2022, Decoupled Knowledge Distillation, arXiv:2203.08679"
    family = "distillation"
    kinds = frozenset({TaskKind.SEQUENCE_CLASSIFICATION, TaskKind.TOKEN_CLASSIFICATION})
    teacher_outputs = "logits"
    control = "hard-labels"
    learning_rates = dict.fromkeys(TaskKind, 2e-4)
    search = {"temperature": Range(1.0, 8.0, log=True), "beta": Range(0.25, 16.0, log=True)}
    params: Params

    def applies(self, task: Task) -> str | None:
        """Return that there is nothing to decouple with two classes."""
        if len(task.labels) == 2:
            return "with two classes there is one other class, and DKD is vanilla-kd"
        return None

    def fit(self, bench: Bench) -> nn.Module:
        """Return the student, trained on the labels and on the two losses against the teacher."""
        from kdbench import losses

        p = self.params

        def loss(student, batch, teacher, progress):  # type: ignore[no-untyped-def]
            soft = losses.decoupled_loss(
                student.logits,
                teacher.logits,
                batch["labels"],
                temperature=p.temperature,
                alpha=p.alpha,
                beta=p.beta,
            )
            weight = min(progress / p.ramp, 1.0) if p.ramp else 1.0
            return p.hard_weight * bench.kind.label_loss(student.logits, batch["labels"]) + weight * soft

        return bench.train(bench.student(p), loss=loss)
