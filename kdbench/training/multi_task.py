"""Train several tasks jointly: one shared encoder, one head per task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from kdbench.api.bench import Batch, Loss, TeacherOutputs
from kdbench.api.strategy import JointStrategy
from kdbench.data.preparing import without_scored
from kdbench.training.bench import TrainingBench
from kdbench.training.experiment import Experiment
from kdbench.training.gradient_balance import GradientBalance
from kdbench.training.multi_task_batches import JointCollator, JointRows, joint_batches, task_order
from kdbench.training.multi_task_model import MultiTaskModel
from kdbench.training.trainer import (
    Schedule,
    TrainingRun,
    hard_label_loss,
    learning_curve,
    train,
    with_progress,
)
from kdbench.utils.files import scratch_folder
from kdbench.utils.system import Report


def joint_benches(
    experiments: Mapping[str, Experiment], strategy: JointStrategy, seed: int, report: Report
) -> tuple[dict[str, TrainingBench], tuple[str, ...]]:
    """Return the benches of a joint strategy by task, and a sentence on each task's training examples that were left out.

    Left out are the examples that another of the tasks scores.
    """
    tasks = [experiment.task for experiment in experiments.values()]
    unseen = {name: without_scored(experiment.task, tasks) for name, experiment in experiments.items()}
    benches = {
        name: TrainingBench(experiment, strategy, seed, report, data=unseen[name][0])
        for name, experiment in experiments.items()
    }
    return benches, tuple(message for _, messages in unseen.values() for message in messages)


def train_jointly(
    benches: Mapping[str, TrainingBench],
    *,
    exponents: tuple[float, float] | None = None,
    balance: bool = False,
    loss: Loss | None = None,
    teacher_outputs: Mapping[str, TeacherOutputs] | None = None,
) -> dict[str, PreTrainedModel]:
    """Train one encoder with one head per task, and return an ordinary transformers model for each task.

    The models share their encoder's modules: a change to one changes all. The number of steps is the sum of the tasks'
    own, each step on a batch of one task in that task's batch size and at that task's learning rate, all under one
    schedule. The weights kept are those with the best mean of the tasks' headline
    metrics on their validation splits. Every bench is charged its task's part of the run: its steps, examples and
    tokens, and a share of the seconds (all tasks' validations included) proportional to its tokens. Its learning curve
    has the task's losses, before balancing, at the steps of the joint training.

    Args:
        benches: two or more benches of the same seed, by task; their order does not matter.
        exponents: a task's share of the steps is proportional to its batches per epoch raised to this power, at the
            first and at the last step, as in `task_order`; by default each task gets as many steps as alone.
        balance: whether `GradientBalance` equalizes the tasks' gradient norms.
        loss: by default the loss against the labels; a batch belongs to the one task that ``batch["task"]`` names.
        teacher_outputs: the teacher's outputs of each task, as returned by `Bench.teacher_logits`.
    """
    benches = {task: benches[task] for task in sorted(benches)}
    schedules = {task: bench.schedule() for task, bench in benches.items()}
    model = MultiTaskModel({task: bench.base() for task, bench in benches.items()})
    first = next(iter(benches.values()))
    whole = replace(
        first.schedule(),  # evaluations and seeds are the same for all tasks
        steps=sum(schedule.steps for schedule in schedules.values()),
        batch_size=max(schedule.batch_size for schedule in schedules.values()),
        learning_rate=max(schedule.learning_rate for schedule in schedules.values()),
    )
    order = _order(benches, schedules, whole, exponents)
    rates = [schedule.learning_rate / whole.learning_rate for schedule in schedules.values()]
    shared = model.shared_weights if balance else None
    kinds = {task: bench.kind for task, bench in benches.items()}
    loss = with_progress(loss or hard_label_loss(lambda batch: kinds[batch["task"]]))
    counting = _CountingLoss(loss, shared, {task: _TaskShare() for task in benches})
    validation = _Validation(benches)
    with scratch_folder(first.experiment.results) as scratch:
        run = train(
            model,
            JointRows({task: bench.task.train for task, bench in benches.items()}),
            JointCollator(first.experiment.tokenizer, kinds),
            params=first.params,
            schedule=whole,
            validate=validation,
            scratch=scratch,
            loss=counting,
            teacher_outputs=_TeacherByTask(teacher_outputs) if teacher_outputs else None,
            report=lambda step, steps, value: first.report("training", step, steps, value),
            batches=joint_batches(
                [bench.task.train["length"][:] for bench in benches.values()],
                [schedule.batch_size for schedule in schedules.values()],
                order,
                whole.data_seed,
            ),
            rates=[rates[task] for task in order],
            trackers=first.trackers("joint training"),
        )
    if counting.balance is not None:
        counting.balance.stop()
    best = max(validation.scores, key=lambda scores: fmean(scores.values()))
    for task, bench in benches.items():
        scores = [scores[task] for scores in validation.scores]
        bench.runs.append(_task_run(run, counting.done[task], scores, best[task]))
        bench.task_bytes = model.head_bytes(task)
    return dict(model.by_task)


@dataclass
class _TaskShare:
    """One task's examples, tokens and losses in the joint training."""

    examples: int = 0
    tokens: int = 0
    losses: dict[int, float] = field(default_factory=dict)
    """Loss by step of the joint training, from 1."""


@dataclass
class _CountingLoss:
    """The loss of a step, weighted by the balance; counts each task's examples, tokens and losses."""

    loss: Loss
    shared: Callable[[], list[nn.Parameter]] | None
    """Returns the weights whose gradients are balanced, called at the first step; None without balancing."""
    done: dict[str, _TaskShare]
    balance: GradientBalance | None = None

    def __call__(self, student: Any, batch: Batch, teacher: Any, progress: float) -> Tensor:
        task = str(batch["task"])
        step = 1 + sum(len(done.losses) for done in self.done.values())
        if self.shared is not None and self.balance is None:
            self.balance = GradientBalance(self.shared())
        value = self.loss(student, batch, teacher, progress=progress)
        done = self.done[task]
        done.examples += len(batch["id"])
        done.tokens += int(batch["attention_mask"].sum())
        done.losses[step] = float(value.detach())
        return value if self.balance is None else self.balance.weigh(task, value)


@dataclass
class _Validation:
    """Scores a joint model by the mean of the tasks' headline metrics on their validation splits."""

    benches: Mapping[str, TrainingBench]
    scores: list[dict[str, float]] = field(default_factory=list)
    """Each validation's scores by task."""

    def __call__(self, model: nn.Module) -> float:
        scores = {
            task: bench.validation_score(_SingleTaskView(model, task)) for task, bench in self.benches.items()
        }
        self.scores.append(scores)
        return fmean(scores.values())


class _SingleTaskView(nn.Module):
    """A joint model restricted to one task, in training precision like every validation during training."""

    def __init__(self, model: nn.Module, task: str) -> None:
        super().__init__()
        self._model = model
        self._task = task

    def forward(self, **inputs: Any) -> Any:
        return self._model(task=self._task, **inputs)


class _TeacherByTask:
    """Gives each batch the outputs of its own task's teacher."""

    def __init__(self, by_task: Mapping[str, TeacherOutputs]) -> None:
        self._by_task = by_task
        self.requested = {
            name: value for outputs in by_task.values() for name, value in outputs.requested.items()
        }

    def __call__(self, batch: Batch) -> Any:
        return self._by_task[str(batch["task"])](batch)


def _order(
    benches: Mapping[str, TrainingBench],
    schedules: Mapping[str, Schedule],
    whole: Schedule,
    exponents: tuple[float, float] | None,
) -> list[int]:
    """Return the index of each step's task."""
    if exponents is None:
        return task_order([schedule.steps for schedule in schedules.values()], whole.steps, (1.0, 1.0))
    passes = [-(-len(bench.task.train) // schedules[task].batch_size) for task, bench in benches.items()]
    return task_order(passes, whole.steps, exponents)


def _task_run(run: TrainingRun, done: _TaskShare, scores: Sequence[float], best: float) -> TrainingRun:
    """Return one task's part of the joint training `run`."""
    assert run.curve is not None
    part = done.tokens / run.tokens
    return TrainingRun(
        train_s=run.train_s * part,
        train_cpu_s=None if run.train_cpu_s is None else run.train_cpu_s * part,
        steps=len(done.losses),
        examples=done.examples,
        tokens=done.tokens,
        best_score=best,
        train_flops=None if run.train_flops is None else round(run.train_flops * part),
        curve=learning_curve(done.losses, dict(zip(run.curve.validated, scores, strict=True))),
    )
