"""Patient knowledge distillation: learning from layers along the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from kdbench import Bench, Strategy, StudentParams, TaskKind, UsageError

if TYPE_CHECKING:
    from torch import nn


class PKD(Strategy):
    """Train a student on soft targets, labels, and the teacher's hidden states of several layers."""

    class Params(StudentParams):
        """A student, which layers it learns from, and how its three losses are weighed."""

        match: Literal["skip", "last"] = Field(
            "skip",
            description="layers to learn from: evenly spaced (skip) or the last but one and before (last)",
        )
        temperature: float = Field(5.0, gt=0, description="T, by which both models' logits are divided")
        alpha: float = Field(0.7, ge=0, le=1, description="weight of the soft loss; 1 - alpha is the labels'")
        beta: float = Field(10.0, ge=0, description="weight of the hidden states' loss")

    name = "pkd"
    title = "Patient distillation, layer by layer"
    citation = "Sun et al. 2019, Patient Knowledge Distillation for BERT Model Compression, arXiv:1908.09355"
    family = "distillation"
    teacher_outputs = "hidden_states"
    control = "hard-labels"
    learning_rates = dict.fromkeys(TaskKind, 2e-4)
    params: Params

    def fit(self, bench: Bench) -> nn.Module:
        """Return the student, trained on (1 - alpha) hard loss + alpha T² KL(teacher, student) + beta patient loss.

        Raises:
            UsageError: the student is not as wide as the teacher, has one layer only, or more than the teacher.
        """
        from kdbench_plugins._layer_matching import check_equal_widths

        from kdbench import losses

        alpha, beta, temperature = self.params.alpha, self.params.beta, self.params.temperature
        student, teacher = bench.student(self.params), bench.teacher
        check_equal_widths(self.name, student, teacher)
        pairs = matched_layers(
            self.params.match, student.config.num_hidden_layers, teacher.config.num_hidden_layers
        )
        # A text's answer is read off [CLS], its first piece; a word's off its own.
        tokens = bench.kind.per_word
        read = slice(None) if tokens else slice(1)

        def loss(student, batch, teacher):  # type: ignore[no-untyped-def]
            answers = bench.kind.distillation_loss(
                student.logits, teacher.logits, batch["labels"], temperature=temperature, alpha=alpha
            )
            patient = losses.patient_loss(
                [student.hidden_states[mine][:, read] for mine, _ in pairs],
                [teacher.hidden_states[theirs][:, read] for _, theirs in pairs],
                batch["attention_mask"][:, read],
            )
            return answers + beta * patient

        return bench.train(student, loss=loss)


def matched_layers(match: str, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
    """Return which layer of the student learns from which of the teacher, both counted from 1 (section 3.2).

    The student's last layer learns from none: the soft targets reach it. Six layers learn from twelve as from 2, 4, 6,
    8, 10 (``skip``) or from 7, 8, 9, 10, 11 (``last``).

    Raises:
        UsageError: the student has one layer only, or more than the teacher.
    """
    if not 2 <= student_depth <= teacher_depth:
        raise UsageError(
            f"strategy 'pkd': a student of {student_depth} layers cannot learn layer by layer from a teacher of "
            f"{teacher_depth}; set layers to a number from 2 to {teacher_depth}"
        )
    if match == "skip":
        return [(layer, layer * teacher_depth // student_depth) for layer in range(1, student_depth)]
    return [(layer, layer + teacher_depth - student_depth) for layer in range(1, student_depth)]
