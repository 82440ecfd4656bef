"""One encoder for all tasks of a run, taught by a teacher a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kdbench_plugins.multi_task import SAMPLING, MultiTask
from pydantic import Field

from kdbench import JointStrategy, StrategySpec, params_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kdbench.training.bench import Bench


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
    reference = "Clark et al. 2019, BAM! Born-Again Multi-Task Networks for Natural Language Understanding, arXiv:1907.04829"
    family = "multi-task"
    note = MultiTask.note
    uses_teacher = True
    params: Params

    def control(self) -> StrategySpec:
        """Return the same training without teachers."""
        return StrategySpec(name=MultiTask.name, params=params_of(self.params, MultiTask.Params))

    def fit_jointly(self, benches: Mapping[str, Bench]) -> Mapping[str, nn.Module]:
        """Return a model a task; their encoders are one."""
        from kdbench.training.multi_task import train_jointly

        return train_jointly(
            benches,
            exponents=SAMPLING[self.params.sampling],
            balance=self.params.balance == "norm",
            loss=self.loss,
            teacher_outputs={task: bench.teacher_logits(bench.task.train) for task, bench in benches.items()},
        )

    def loss(self, student: Any, batch: Mapping[str, Any], teacher: Any, progress: float) -> Tensor:
        """Return w hard loss + (1 - w) KL(teacher, student); with annealing w is `progress`, from 0 to 1."""
        from kdbench.api import losses

        labels = batch["labels"]
        hard_weight = progress if self.params.annealing else 1 - self.params.distill_weight
        soft = losses.soft_target_loss(student.logits, teacher.logits, labels, temperature=1.0)
        return hard_weight * losses.task_loss(student.logits, labels) + (1 - hard_weight) * soft
