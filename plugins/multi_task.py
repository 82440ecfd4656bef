"""One encoder for all tasks of a run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from kdbench import Bench, JointStrategy, TaskKind
from kdbench import Params as BaseParams

if TYPE_CHECKING:
    from torch import Tensor, nn


SAMPLING: Mapping[str, tuple[float, float]] = {
    "proportional": (1.0, 1.0),  # all tasks' batches, shuffled: Liu et al. 2019, algorithm 1
    "three-quarters": (0.75, 0.75),  # Clark et al. 2019, arXiv:1907.04829
    "square-root": (0.5, 0.5),  # Stickland and Murray 2019, arXiv:1902.02671
    "annealed": (1.0, 0.2),  # the same: alpha = 1 - 0.8 (e - 1) / (E - 1)
    "uniform": (0.0, 0.0),  # every task as often as any other
}
"""What a task's batches a pass are raised to, at the first step and at the last; a task's share of the steps is in
proportion to that."""


class MultiTask(JointStrategy):
    """Train one encoder with a head a task on the labels of all tasks; each batch is of one task."""

    class Params(BaseParams):
        """How often each task comes, and how heavily it weighs."""

        sampling: Literal["proportional", "three-quarters", "square-root", "annealed", "uniform"] = Field(
            "uniform",
            description="a task's share of the steps: in proportion to its size, to its power 3/4 or 1/2, to a "
            "power that falls from 1 to 0.2, or the same for all",
        )
        balance: Literal["none", "norm"] = Field(
            "none",
            description="norm: each loss is scaled so that all tasks' gradients in the encoder have one running norm",
        )

    name = "multi-task"
    title = "Multi-task training, one encoder"
    citation = "Liu et al. 2019, Multi-Task Deep Neural Networks for Natural Language Understanding, arXiv:1901.11504"
    family = "multi-task"
    note = (
        "One encoder for all tasks of the run: every task's row counts it in full, while a further task trained along "
        "adds its head alone."
    )
    params: Params

    def fit_jointly(self, benches: Mapping[str, Bench]) -> Mapping[str, nn.Module]:
        """Return a model a task; their encoders are one."""
        from kdbench import train_jointly

        return train_jointly(
            benches, exponents=SAMPLING[self.params.sampling], balance=self.params.balance == "norm"
        )


class MultiTaskKD(JointStrategy):
    """Train one encoder with a head a task on the labels and on the outputs of each task's own teacher."""

    class Params(MultiTask.Params):
        """How labels and teachers are weighed."""

        annealing: bool = Field(
            True,
            description="the labels' weight grows in a line from 0 to 1 over the training, the teachers' falls",
        )
        distill_weight: float = Field(
            0.5, ge=0, le=1, description="without annealing, the teachers' weight; the labels' is the rest"
        )

    name = "multi-task-kd"
    title = "Multi-task distillation, one encoder"
    citation = "Clark et al. 2019, BAM! Born-Again Multi-Task Networks for Natural Language Understanding, arXiv:1907.04829"
    family = "multi-task"
    note = MultiTask.note
    teacher_outputs = "logits"
    control = MultiTask
    params: Params

    def fit_jointly(self, benches: Mapping[str, Bench]) -> Mapping[str, nn.Module]:
        """Return a model a task; their encoders are one."""
        from kdbench import train_jointly

        return train_jointly(
            benches,
            exponents=SAMPLING[self.params.sampling],
            balance=self.params.balance == "norm",
            loss=partial(self.loss, {task: bench.kind for task, bench in benches.items()}),
            teacher_outputs={task: bench.teacher_logits(bench.task.train) for task, bench in benches.items()},
        )

    def loss(
        self,
        kinds: Mapping[str, TaskKind],
        student: Any,
        batch: Mapping[str, Any],
        teacher: Any,
        progress: float,
    ) -> Tensor:
        """Return w hard loss + (1 - w) KL(teacher, student); with annealing w is `progress`, from 0 to 1."""
        labels, kind = batch["labels"], kinds[batch["task"]]
        hard_weight = progress if self.params.annealing else 1 - self.params.distill_weight
        soft = kind.soft_target_loss(student.logits, teacher.logits, labels, temperature=1.0)
        return hard_weight * kind.label_loss(student.logits, labels) + (1 - hard_weight) * soft
