"""Train one encoder for all tasks of a run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from kdbench import Bench, Choice, JointStrategy, TaskKind
from kdbench import Params as BaseParams

if TYPE_CHECKING:
    from torch import Tensor, nn


SAMPLING: Mapping[str, tuple[float, float] | None] = {
    "own": None,  # as many steps as each task has alone
    "proportional": (1.0, 1.0),  # the batches of all tasks, shuffled: Liu et al. 2019, algorithm 1
    "three-quarters": (0.75, 0.75),  # Clark et al. 2019, arXiv:1907.04829
    "square-root": (0.5, 0.5),  # Stickland and Murray 2019, arXiv:1902.02671
    "annealed": (1.0, 0.2),  # Stickland and Murray: alpha = 1 - 0.8 (e - 1) / (E - 1)
    "uniform": (0.0, 0.0),  # every task as often as any other
}
"""The exponents alpha at the first and the last step: a task's share of the steps is proportional to its number of
batches per epoch to the power of alpha. None gives each task the steps that it has alone."""


class MultiTask(JointStrategy):
    """Train one encoder with a head per task on the labels of all tasks; each batch is of one task."""

    class Params(BaseParams):
        sampling: Literal["own", "proportional", "three-quarters", "square-root", "annealed", "uniform"] = (
            Field(
                "own",
                description="share of the steps per task: those that it has alone (own); proportional to its size, to its size to "
                "the power 3/4 or 1/2, or to a power that falls from 1 to 0.2; or uniform",
            )
        )
        balance: Literal["none", "norm"] = Field(
            "none",
            description="norm: scale each task's loss so that all tasks' encoder gradients have the same running norm",
        )

    name = "multi-task"
    title = "Multi-task training, one encoder"
    citation = "Liu et al. 2019, Multi-Task Deep Neural Networks for Natural Language Understanding, arXiv:1901.11504"
    family = "multi-task"
    revision = 2  # 1 trained on texts that another task of the run scores
    note = (
        "One encoder for all tasks of the run: every task's row counts it in full, while each additional task adds only "
        "its head."
    )
    search = {"sampling": Choice(tuple(SAMPLING)), "balance": Choice(("none", "norm"))}
    params: Params

    def fit_jointly(self, benches: Mapping[str, Bench], **objective: Any) -> Mapping[str, nn.Module]:
        """Return a model per task; all share one encoder. `objective` is passed to `train_jointly`."""
        from kdbench import train_jointly

        return train_jointly(
            benches,
            exponents=SAMPLING[self.params.sampling],
            balance=self.params.balance == "norm",
            **objective,
        )


class MultiTaskKD(MultiTask):
    """Train one encoder with a head per task on the labels and on the outputs of each task's teacher."""

    class Params(MultiTask.Params):
        annealing: bool = Field(
            True,
            description="the labels' weight grows linearly from 0 to 1 over training, while the teachers' falls to 0",
        )
        distill_weight: float = Field(
            0.5,
            ge=0,
            le=1,
            description="the teachers' weight without annealing; 1 - distill_weight is the labels'",
        )

    name = "multi-task-kd"
    title = "Multi-task distillation, one encoder"
    citation = "Clark et al. 2019, BAM! Born-Again Multi-Task Networks for Natural Language Understanding, arXiv:1907.04829"
    teacher_outputs = "logits"
    control = MultiTask
    params: Params

    def fit_jointly(self, benches: Mapping[str, Bench]) -> Mapping[str, nn.Module]:
        """Return a model per task; all share one encoder."""
        return super().fit_jointly(
            benches,
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
