"""Distil by the three losses of DistilBERT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from kdbench import Bench, Range, Strategy, StudentParams, TaskKind

if TYPE_CHECKING:
    from torch import nn


class DistilBERT(Strategy):
    """Train a student on soft targets, labels, and the direction of the teacher's last hidden states."""

    class Params(StudentParams):
        """The student, and the weights of its three losses; the weights are divided by their sum."""

        temperature: float = Field(2.0, gt=0, description="T, which divides the logits of both models")
        soft_weight: float = Field(
            5.0,
            ge=0,
            description="weight of the soft loss, the divergence from the teacher's softened outputs",
        )
        hard_weight: float = Field(2.0, ge=0, description="weight of the hard loss")
        cosine_weight: float = Field(
            1.0, ge=0, description="weight of the cosine distance of the last hidden states"
        )

        @model_validator(mode="after")
        def _has_a_loss(self) -> DistilBERT.Params:
            if not self.total_weight:
                raise ValueError(
                    "soft_weight, hard_weight and cosine_weight are all 0; set one of them above 0"
                )
            return self

        @property
        def total_weight(self) -> float:
            """The sum of the three weights."""
            return self.soft_weight + self.hard_weight + self.cosine_weight

    name = "distilbert"
    title = "DistilBERT's three losses"
    citation = "Sanh et al. 2019, DistilBERT, a distilled version of BERT, arXiv:1910.01108"
    family = "distillation"
    teacher_outputs = "hidden_states"
    control = "hard-labels"
    learning_rates = {**dict.fromkeys(TaskKind, 2e-4), TaskKind.TOKEN_CLASSIFICATION: 6e-4}
    search = {"temperature": Range(1.0, 8.0, log=True)}
    params: Params

    def fit(self, bench: Bench) -> nn.Module:
        """Return the student, trained on 5/8 T² KL(teacher, student) + 2/8 hard loss + 1/8 cosine distance.

        Raises:
            UsageError: the student's width differs from the teacher's.
        """
        from kdbench_plugins._layer_matching import check_equal_widths

        from kdbench import losses

        params = self.params
        soft_share, hard_share, cosine_share = (
            weight / params.total_weight
            for weight in (params.soft_weight, params.hard_weight, params.cosine_weight)
        )

        def loss(student, batch, teacher):  # type: ignore[no-untyped-def]
            labels = batch["labels"]
            soft = bench.kind.soft_target_loss(
                student.logits, teacher.logits, labels, temperature=params.temperature
            )
            cosine = losses.cosine_loss(
                student.hidden_states[-1], teacher.hidden_states[-1], batch["attention_mask"]
            )
            hard = bench.kind.label_loss(student.logits, labels)
            return soft_share * soft + hard_share * hard + cosine_share * cosine

        student = bench.student(params)
        check_equal_widths(self.name, student, bench.teacher)
        return bench.train(student, loss=loss)
