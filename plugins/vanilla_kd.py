"""Logit distillation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from kdbench import Strategy, StrategySpec, StudentParams, losses, student_params

if TYPE_CHECKING:
    from torch import nn

    from kdbench.training.bench import Bench


class VanillaKD(Strategy):
    """Train a student on the teacher's softened outputs and on the labels (Hinton et al. 2015, section 2)."""

    class Params(StudentParams):
        """A student, and how its two losses are weighed."""

        temperature: float = Field(2.0, gt=0, description="T, by which both models' logits are divided")
        alpha: float = Field(0.7, ge=0, le=1, description="weight of the soft loss; 1 - alpha is the labels'")

    name = "vanilla-kd"
    title = "Logit distillation"
    reference = "Hinton et al. 2015, Distilling the Knowledge in a Neural Network, arXiv:1503.02531"
    family = "distillation"
    uses_teacher = True
    params: Params

    def control(self) -> StrategySpec:
        """Return the same student without the teacher's outputs."""
        return StrategySpec(name="hard-labels", params=student_params(self.params))

    def fit(self, bench: Bench) -> nn.Module:
        """Return the student, trained on alpha T² KL(teacher, student) + (1 - alpha) hard loss."""
        alpha, temperature = self.params.alpha, self.params.temperature

        def loss(student, batch, teacher):  # type: ignore[no-untyped-def]
            labels = batch["labels"]
            soft = losses.soft_target_loss(student.logits, teacher.logits, labels, temperature=temperature)
            return alpha * soft + (1 - alpha) * losses.task_loss(student.logits, labels)

        return bench.train(bench.student(self.params), loss=loss, teacher_outputs="logits")
