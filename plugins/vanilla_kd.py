"""Distil the teacher's logits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from kdbench import Bench, Range, Strategy, StudentParams, TaskKind, UsageError

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import nn


_OWN_TEXTS = ("none", "unlabelled", "answered")
"""The values of ``transfer`` that name no file."""


class VanillaKD(Strategy):
    """Train a student on the teacher's softened outputs and on the labels (Hinton et al. 2015, section 2)."""

    class Params(StudentParams):
        temperature: float = Field(2.0, gt=0, description="T, which divides the logits of both models")
        alpha: float = Field(
            0.5, ge=0, le=1, description="weight of the soft loss; 1 - alpha is that of the hard loss"
        )
        transfer: str = Field(
            "none",
            min_length=1,
            description="additional texts, labelled by the teacher alone: none, unlabelled (training examples beyond "
            "the budget), answered (those of them, and further texts, that the file of answers answers), or the path of a UTF-8 "
            "file with one text per line",
        )
        transfer_limit: int = Field(10_000, ge=1, description="maximum number of additional texts")

    name = "vanilla-kd"
    title = "Logit distillation"
    citation = "Hinton et al. 2015, Distilling the Knowledge in a Neural Network, arXiv:1503.02531"
    family = "distillation"
    teacher_outputs = "logits"
    control = "hard-labels"
    learning_rates = dict.fromkeys(TaskKind, 2e-4)
    with_answers = {"transfer": "answered"}
    answers_alone = {"alpha": 1.0}
    search = {"temperature": Range(1.0, 8.0, log=True), "alpha": Range(0.1, 1.0)}
    params: Params

    def input_files(self) -> tuple[Path, ...]:
        """Return the file of additional texts, if one is given."""
        return () if self.params.transfer in _OWN_TEXTS else (Path(self.params.transfer),)

    def fit(self, bench: Bench) -> nn.Module:
        """Return the student, trained on alpha T² KL(teacher, student) + (1 - alpha) hard loss.

        Texts without a label do not count in the hard loss; the number of steps does not depend on them. Where labels do not
        count at all (alpha=1) and the teacher is a file of answers, labelled examples without an answer are left out.

        Raises:
            UsageError: ``transfer=unlabelled``, and the budget leaves out no training example.
        """
        alpha, temperature = self.params.alpha, self.params.temperature

        def loss(student, batch, teacher):  # type: ignore[no-untyped-def]
            return bench.kind.distillation_loss(
                student.logits, teacher.logits, batch["labels"], temperature=temperature, alpha=alpha
            )

        rows = self._rows(bench)
        return bench.train(bench.student(self.params), loss=loss, rows=rows)

    def _rows(self, bench: Bench) -> Dataset:
        """Return the training rows followed by those of the transfer set."""
        if self.params.transfer == "none":
            return bench.task.train

        from datasets import concatenate_datasets

        limit, train = self.params.transfer_limit, bench.task.train
        if self.params.transfer == "answered":
            train = bench.answered(train) if self.params.alpha == 1 else train
            answered = concatenate_datasets([bench.answered(bench.task.unlabelled), bench.answered_texts()])
            added = bench.sample(answered, limit)
            if not len(train) + len(added):
                raise UsageError(
                    f"strategy {self.name!r}: the file of answers has none to a training example"
                )
        elif self.params.transfer != "unlabelled":
            (path,) = self.input_files()
            added = bench.read_texts(path, limit)
        elif len(bench.task.unlabelled):
            added = bench.sample(bench.task.unlabelled, limit)
        else:
            raise UsageError(
                f"strategy {self.name!r}: the budget leaves no training example of task "
                f"{bench.task.task.name!r} out; set transfer to a file of texts, or take a smaller budget"
            )
        return concatenate_datasets([train, added])
