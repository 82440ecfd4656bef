"""Distil intermediate layers (patient knowledge distillation)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from kdbench import Bench, Range, Strategy, StudentParams, TaskKind, UsageError

if TYPE_CHECKING:
    from torch import nn


class PKD(Strategy):
    """Train a student on soft targets, labels, and the teacher's hidden states in several layers."""

    class Params(StudentParams):
        match: Literal["skip", "last"] = Field(
            "skip",
            description="teacher layers to learn from: evenly spaced (skip) or those right before the last (last)",
        )
        temperature: float = Field(5.0, gt=0, description="T, which divides the logits of both models")
        alpha: float = Field(
            0.7, ge=0, le=1, description="weight of the soft loss; 1 - alpha is that of the hard loss"
        )
        beta: float = Field(10.0, ge=0, description="weight of the loss of hidden states")

    name = "pkd"
    title = "Patient distillation, layer by layer"
    citation = "Sun et al. 2019, Patient Knowledge Distillation for BERT Model Compression, arXiv:1908.09355"
    family = "distillation"
    teacher_outputs = "hidden_states"
    control = "hard-labels"
    learning_rates = dict.fromkeys(TaskKind, 2e-4)
    search = {"temperature": Range(1.0, 20.0, log=True), "beta": Range(10.0, 500.0, log=True)}
    params: Params

    def fit(self, bench: Bench) -> nn.Module:
        """Return the student, trained on (1 - alpha) hard loss + alpha T² KL(teacher, student) + beta patient loss.

        Raises:
            UsageError: the student's width differs from the teacher's, or it has a single layer or more than the teacher.
        """
        from kdbench_plugins._layer_matching import check_equal_widths

        from kdbench import losses

        alpha, beta, temperature = self.params.alpha, self.params.beta, self.params.temperature
        student, teacher = bench.student(self.params), bench.teacher
        check_equal_widths(self.name, student, teacher)
        pairs = matched_layers(
            self.params.match, student.config.num_hidden_layers, teacher.config.num_hidden_layers
        )
        # Texts are classified by [CLS], the first piece; words by their own pieces.
        positions = slice(None) if bench.kind.per_word else slice(1)

        def loss(student, batch, teacher):  # type: ignore[no-untyped-def]
            predictions = bench.kind.distillation_loss(
                student.logits, teacher.logits, batch["labels"], temperature=temperature, alpha=alpha
            )
            patient = losses.patient_loss(
                [student.hidden_states[layer][:, positions] for layer, _ in pairs],
                [teacher.hidden_states[layer][:, positions] for _, layer in pairs],
                batch["attention_mask"][:, positions],
            )
            return predictions + beta * patient

        return bench.train(student, loss=loss)


def matched_layers(match: str, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
    """Return pairs of student and teacher layers to match, both counted from 1 (section 3.2).

    The student's last layer is not matched: the soft targets train it. With 6 and 12 layers the teacher's layers are 2,
    4, 6, 8, 10 (``skip``) or 7, 8, 9, 10, 11 (``last``).

    Raises:
        UsageError: the student has a single layer, or more layers than the teacher.
    """
    if not 2 <= student_depth <= teacher_depth:
        raise UsageError(
            f"strategy 'pkd': a student of {student_depth} layers cannot learn layer by layer from a teacher of "
            f"{teacher_depth}; set layers to a number from 2 to {teacher_depth}"
        )
    if match == "skip":
        return [(layer, layer * teacher_depth // student_depth) for layer in range(1, student_depth)]
    return [(layer, layer + teacher_depth - student_depth) for layer in range(1, student_depth)]
