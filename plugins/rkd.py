"""Distil the relations between texts: distances and angles (RKD)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from kdbench import Bench, Range, Strategy, StudentParams, TaskKind

if TYPE_CHECKING:
    from torch import nn


class RKD(Strategy):
    """Train a student on the labels and on the distances and angles that the teacher finds between a batch's texts.

    Park et al. 2019, section 3. A text is the mean of its word pieces in the last layer. Relations have no width, so that
    the student may be narrower than the teacher.
    """

    class Params(StudentParams):
        distance_weight: float = Field(25.0, ge=0, description="weight of the distances between two texts")
        angle_weight: float = Field(50.0, ge=0, description="weight of the angles between three texts")

    name = "rkd"
    title = "Relational distillation (RKD)"
    citation = "Park et al. 2019, Relational Knowledge Distillation, arXiv:1904.05068"
    family = "distillation"
    teacher_outputs = "hidden_states"
    control = "hard-labels"
    learning_rates = dict.fromkeys(TaskKind, 2e-4)
    search = {"distance_weight": Range(1.0, 100.0, log=True), "angle_weight": Range(1.0, 200.0, log=True)}
    params: Params

    def fit(self, bench: Bench) -> nn.Module:
        """Return the student, trained on the labels and on both relations."""
        from kdbench_plugins._probe_model import mean_of_tokens

        from kdbench import losses

        p = self.params

        def loss(student, batch, teacher):  # type: ignore[no-untyped-def]
            ours, theirs = (
                mean_of_tokens(outputs.hidden_states[-1].float(), batch["attention_mask"])
                for outputs in (student, teacher)
            )
            relations = p.distance_weight * losses.distance_loss(ours, theirs)
            relations = relations + p.angle_weight * losses.angle_loss(ours, theirs)
            return bench.kind.label_loss(student.logits, batch["labels"]) + relations

        return bench.train(bench.student(p), loss=loss)
