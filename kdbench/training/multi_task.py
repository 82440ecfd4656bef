"""Train several tasks jointly: one shared encoder, one head per task."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.generic import ModelOutput

from kdbench.api.bench import Batch, Loss, TeacherOutputs
from kdbench.api.kinds import TaskKind
from kdbench.data.batches import Collator, length_grouped_batches
from kdbench.models.cost import trainable_bytes
from kdbench.training.bench import TrainingBench
from kdbench.training.trainer import (
    Schedule,
    TrainingRun,
    learning_curve,
    train,
    with_progress,
)
from kdbench.utils.files import scratch_folder


def task_order(sizes: Sequence[int], steps: int, exponents: tuple[float, float]) -> list[int]:
    """Return the index of the task that each step trains.

    A task's share of each step is proportional to ``size ** exponent``, where the exponent changes linearly from the
    first of `exponents` at the first step to the second at the last. The order is deterministic: the task that is
    furthest behind the sum of its shares comes next, so that the shares hold even within few steps. A task too small
    for any step replaces the last step of the most frequent task.

    Args:
        sizes: of each task, in batches per epoch or in any other unit.
    """
    order: list[int] = []
    deficits = np.zeros(len(sizes))
    for exponent in np.linspace(*exponents, num=steps):
        weights = np.asarray(sizes, dtype=np.float64) ** exponent
        deficits += weights / weights.sum()
        order.append(int(deficits.argmax()))
        deficits[order[-1]] -= 1
    for left_out in set(range(len(sizes))) - set(order):
        most_frequent, count = Counter(order).most_common(1)[0]
        if count > 1:
            order[max(step for step, task in enumerate(order) if task == most_frequent)] = left_out
    return order


class JointRows(Dataset[dict[str, Any]]):
    """The concatenated training rows of several tasks; each row names its ``task``."""

    def __init__(self, rows: Mapping[str, datasets.Dataset]) -> None:
        self._parts = list(rows.items())
        self.starts = list(itertools.accumulate((len(part) for _, part in self._parts), initial=0))[:-1]
        """The index of each task's first row."""

    def __len__(self) -> int:
        return self.starts[-1] + len(self._parts[-1][1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        number = bisect_right(self.starts, index) - 1
        task, part = self._parts[number]
        return {**part[index - self.starts[number]], "task": task}


def joint_batches(
    lengths: Sequence[Sequence[int]], batch_sizes: Sequence[int], order: Sequence[int], seed: int
) -> list[list[int]]:
    """Return the batches of a joint training, as indices into `JointRows`.

    Each task's batches are those of training on that task alone, in the same order: of similar lengths, epoch after
    epoch.

    Args:
        lengths: each task's row lengths.
        batch_sizes: each task's batch size.
        order: the task of each step, by index.
        seed: the seed of the order of rows.
    """
    streams = [
        length_grouped_batches(task_lengths, size, seed)
        for task_lengths, size in zip(lengths, batch_sizes, strict=True)
    ]
    starts = list(itertools.accumulate(map(len, lengths), initial=0))
    return [[starts[task] + index for index in next(streams[task])] for task in order]


class JointCollator(Collator):
    """Pads the rows of one task to the longest of the batch, and adds the task's name under ``task``.

    Args:
        kinds: the kind of each task.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, kinds: Mapping[str, TaskKind]) -> None:
        super().__init__(tokenizer, next(iter(kinds.values())))
        self._kinds = kinds

    def kind_of(self, examples: Sequence[Mapping[str, Any]]) -> TaskKind:
        """Return the kind of the task that `examples` belong to."""
        return self._kinds[examples[0]["task"]]

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> Batch:
        """Return `examples` as one batch."""
        name: Any = examples[0]["task"]
        return {**super().__call__(examples), "task": name}


_DECAY = 0.9
"""The decay of the running mean of gradient norms."""


class GradientBalance:
    """Weights each task's loss by the ratio of the mean of all tasks' gradient norms to the task's own.

    A task's norm is the running mean of the Euclidean norm of the gradient of its unweighted loss in the shared weights,
    before clipping; until its first batch is done, its weight is 1. This directly reaches the aim of GradNorm (Chen et
    al. 2018, arXiv:1711.02257, equation 1) with alpha = 0, which pulls every task's norm to the mean: GradNorm learns
    its weights by gradient descent, needs all tasks in every step and, with alpha > 0, also favours tasks that learn
    slowly.

    Args:
        shared: the weights that all tasks share.
    """

    def __init__(self, shared: Iterable[nn.Parameter]) -> None:
        self._norms: dict[str, float] = {}
        self._squares: list[Tensor] = []
        self._pending = ("", 1.0)
        self._hooks = [
            weight.register_post_accumulate_grad_hook(self._add_gradient)  # type: ignore[no-untyped-call]
            for weight in shared
        ]

    def weigh(self, task: str, loss: Tensor) -> Tensor:
        """Return the loss of one step times the weight of `task`; the step's gradients update the task's norm."""
        self._update_norm()
        self._pending = (task, self.weight(task))
        return loss * self._pending[1]

    def weight(self, task: str) -> float:
        """Return the weight of `task`, from the gradients up to the previous step."""
        own = self._norms.get(task)
        return fmean(self._norms.values()) / own if own else 1.0

    def stop(self) -> None:
        """Remove the gradient hooks."""
        for hook in self._hooks:
            hook.remove()

    def _add_gradient(self, weight: Tensor) -> None:
        assert weight.grad is not None
        self._squares.append(weight.grad.square().sum())

    def _update_norm(self) -> None:
        """Update the running norm of the last step's task with that step's gradient, divided by its loss weight."""
        if not self._squares:
            return
        task, weight = self._pending
        norm = float(torch.stack(self._squares).sum().sqrt()) / weight
        self._squares.clear()
        if norm > 0:  # a batch without labels has no gradient
            self._norms[task] = _DECAY * self._norms.get(task, norm) + (1 - _DECAY) * norm


def hard_label_joint_loss(kinds: Mapping[str, TaskKind]) -> Loss:
    """Return the loss against hard labels for tasks of `kinds`."""

    def loss(student: Any, batch: Batch, teacher: Any) -> Tensor:
        return kinds[str(batch["task"])].label_loss(student.logits, batch["labels"])

    return loss


def train_jointly(
    benches: Mapping[str, TrainingBench],
    *,
    exponents: tuple[float, float] = (1.0, 1.0),
    balance: bool = False,
    loss: Loss | None = None,
    teacher_outputs: Mapping[str, TeacherOutputs] | None = None,
) -> dict[str, PreTrainedModel]:
    """Train one encoder with one head per task, and return an ordinary transformers model for each task.

    The models share their encoder's modules: a change to one changes all. The number of steps is the sum of the tasks'
    own, each step on a batch of one task in that task's batch size. The learning rate is the lowest of the tasks' own,
    since some head may not converge above it. The weights kept are those with the best mean of the tasks' headline
    metrics on their validation splits. Every bench is charged its task's part of the run: its steps, examples and
    tokens, and a share of the seconds (all tasks' validations included) proportional to its tokens. Its learning curve
    has the task's losses, before balancing, at the steps of the joint training.

    Args:
        benches: two or more benches of the same seed, by task; their order does not matter.
        exponents: a task's share of the steps is proportional to its batches per epoch raised to this power, at the
            first and at the last step, as in `task_order`.
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
        learning_rate=min(schedule.learning_rate for schedule in schedules.values()),
    )
    shared = model.shared_weights if balance else None
    kinds = {task: bench.kind for task, bench in benches.items()}
    loss = with_progress(loss or hard_label_joint_loss(kinds))
    counting = _CountingLoss(loss, whole.steps, shared, {task: _TaskShare() for task in benches})
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
            batches=_batches(benches, schedules, whole, exponents),
            trackers=first.trackers("joint training"),
        )
    if counting.balance is not None:
        counting.balance.stop()
    for task, bench in benches.items():
        bench.runs.append(_task_run(run, counting.done[task], validation.of(task), validation.best[task]))
        bench.task_bytes = model.head_bytes(task)
    return dict(model.by_task)


class MultiTaskModel(nn.Module):
    """Models of one architecture, one per task, that share all parts of the encoder which they have in common.

    If the architecture has a pooler for texts but none for tokens, as BERT does, the tasks on texts share the pooler.

    Args:
        by_task: the models, all from the same base model; the parts of their encoders are replaced by the first model's.
    """

    def __init__(self, by_task: Mapping[str, PreTrainedModel]) -> None:
        super().__init__()
        self.by_task = dict(by_task)
        self._models = nn.ModuleList(by_task.values())
        _share_encoder(list(by_task.values()))

    def forward(self, *, task: str, **inputs: Any) -> ModelOutput:
        """Return the outputs, including ``.logits``, of the model of `task` on a batch of `task`."""
        outputs: ModelOutput = self.by_task[task](**inputs)
        return outputs

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding table that all tasks share."""
        return next(iter(self.by_task.values())).get_input_embeddings()

    def set_input_embeddings(self, table: nn.Module) -> None:
        """Set `table` as the embedding table of every task's model."""
        for model in self.by_task.values():
            model.set_input_embeddings(table)

    def shared_weights(self) -> list[nn.Parameter]:
        """Return the weights that all tasks share."""
        owners = Counter(id(weight) for model in self.by_task.values() for weight in model.parameters())
        return [weight for weight in self.parameters() if owners[id(weight)] == len(self.by_task)]

    def head_bytes(self, task: str) -> int:
        """Return the bytes of the trainable weights that the model of `task` has beyond its encoder."""
        model = self.by_task[task]
        return trainable_bytes(model) - trainable_bytes(model.base_model)


def _share_encoder(models: Sequence[PreTrainedModel]) -> None:
    """Replace each part of the encoders by the part of the same name in the first encoder that has it."""
    shared: dict[str, Any] = {}
    for model in models:
        encoder = model.base_model
        parts: list[tuple[str, Any]] = [*encoder.named_children(), *encoder.named_parameters(recurse=False)]
        for name, part in parts:
            setattr(encoder, name, shared.setdefault(name, part))


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
    steps: int
    shared: Callable[[], list[nn.Parameter]] | None
    """Returns the weights whose gradients are balanced, called at the first step; None without balancing."""
    done: dict[str, _TaskShare]
    balance: GradientBalance | None = None

    def __call__(self, student: Any, batch: Batch, teacher: Any) -> Tensor:
        task = str(batch["task"])
        steps_before = sum(len(done.losses) for done in self.done.values())
        if self.shared is not None and self.balance is None:
            self.balance = GradientBalance(self.shared())
        value = self.loss(student, batch, teacher, progress=steps_before / self.steps)
        done = self.done[task]
        done.examples += len(batch["id"])
        done.tokens += int(batch["attention_mask"].sum())
        done.losses[steps_before + 1] = float(value.detach())
        return value if self.balance is None else self.balance.weigh(task, value)


class _Validation:
    """Scores a joint model by the mean of the tasks' headline metrics on their validation splits."""

    def __init__(self, benches: Mapping[str, TrainingBench]) -> None:
        self._benches = benches
        self._scores: list[dict[str, float]] = []

    def __call__(self, model: nn.Module) -> float:
        scores = {
            task: bench.validation_score(_SingleTaskView(model, task))
            for task, bench in self._benches.items()
        }
        self._scores.append(scores)
        return fmean(scores.values())

    def of(self, task: str) -> list[float]:
        """Return the scores of `task`, in the order of the validations."""
        return [scores[task] for scores in self._scores]

    @property
    def best(self) -> dict[str, float]:
        """Each task's score at the first validation with the best mean."""
        return max(self._scores, key=lambda scores: fmean(scores.values()))


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


def _batches(
    benches: Mapping[str, TrainingBench],
    schedules: Mapping[str, Schedule],
    whole: Schedule,
    exponents: tuple[float, float],
) -> list[list[int]]:
    lengths = [bench.task.train["length"][:] for bench in benches.values()]
    sizes = [schedule.batch_size for schedule in schedules.values()]
    passes = [-(-len(rows) // size) for rows, size in zip(lengths, sizes, strict=True)]
    return joint_batches(lengths, sizes, task_order(passes, whole.steps, exponents), whole.data_seed)


def _task_run(run: TrainingRun, done: _TaskShare, scores: Sequence[float], best: float) -> TrainingRun:
    """Return one task's part of the joint training `run`."""
    assert run.curve is not None
    part = done.tokens / run.tokens
    return TrainingRun(
        train_s=run.train_s * part,
        steps=len(done.losses),
        examples=done.examples,
        tokens=done.tokens,
        best_score=best,
        train_flops=None if run.train_flops is None else round(run.train_flops * part),
        curve=learning_curve(done.losses, dict(zip(run.curve.validated, scores, strict=True))),
    )
