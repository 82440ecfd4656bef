"""Several tasks trained together: one encoder, a head a task."""

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
    """Return which task each step trains, by number.

    A step's shares are in proportion to ``size ** exponent``, where the exponent goes linearly from the first of
    `exponents` at the first step to the second at the last. Nothing is drawn by lot: the task that is furthest behind
    the sum of its shares comes next, so that few steps already hold the shares. A task too small for any step takes
    the last one of the most frequent task.

    Args:
        sizes: of each task, in batches a pass or in any other unit.
    """
    order: list[int] = []
    due = np.zeros(len(sizes))
    for exponent in np.linspace(*exponents, num=steps):
        weights = np.asarray(sizes, dtype=np.float64) ** exponent
        due += weights / weights.sum()
        order.append(int(due.argmax()))
        due[order[-1]] -= 1
    for left_out in set(range(len(sizes))) - set(order):
        most_frequent, steps_of_it = Counter(order).most_common(1)[0]
        if steps_of_it > 1:
            order[max(step for step, task in enumerate(order) if task == most_frequent)] = left_out
    return order


class JointRows(Dataset[dict[str, Any]]):
    """The training rows of several tasks behind each other; each row tells its ``task``."""

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
    """Return the batches of a whole training, as indices into `JointRows`.

    Each task's own batches come in the order in which training on it alone would take them: of similar lengths, pass
    after pass.

    Args:
        lengths: each task's row lengths.
        batch_sizes: each task's rows a batch.
        order: the task of each step, by number.
        seed: of the order of rows.
    """
    streams = [
        length_grouped_batches(of_task, size, seed)
        for of_task, size in zip(lengths, batch_sizes, strict=True)
    ]
    starts = list(itertools.accumulate((len(of_task) for of_task in lengths), initial=0))
    return [[starts[task] + index for index in next(streams[task])] for task in order]


class JointCollator(Collator):
    """Pad the rows of one task to the longest of the batch, and name the task under ``task``.

    Args:
        kinds: each task's.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, kinds: Mapping[str, TaskKind]) -> None:
        super().__init__(tokenizer, next(iter(kinds.values())))
        self._kinds = kinds

    def kind_of(self, examples: Sequence[Mapping[str, Any]]) -> TaskKind:
        """Return the kind of the task that `examples` are of."""
        return self._kinds[examples[0]["task"]]

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> Batch:
        """Return the examples as one batch."""
        name: Any = examples[0]["task"]
        return {**super().__call__(examples), "task": name}


_KEPT = 0.9
"""What a running norm keeps of itself at each new gradient."""


class GradientBalance:
    """Weighs each task's loss by the mean of all tasks' gradient norms over its own.

    A task's norm is the running mean of the Euclidean norm of its unweighted loss's gradient in the shared weights,
    before clipping; until its first batch is done its weight is 1. This is the aim of GradNorm (Chen et al. 2018,
    arXiv:1711.02257, equation 1) with alpha = 0, where every task's norm is pulled to the mean, reached directly:
    GradNorm learns its weights by gradient descent, needs all tasks in every step and, with alpha > 0, also favours
    tasks that learn slowly.

    Args:
        shared: the weights that every task has part in.
    """

    def __init__(self, shared: Iterable[nn.Parameter]) -> None:
        self._norms: dict[str, float] = {}
        self._squares: list[Tensor] = []
        self._pending = ("", 1.0)
        self._hooks = [
            weight.register_post_accumulate_grad_hook(self._note)  # type: ignore[no-untyped-call]
            for weight in shared
        ]

    def weigh(self, task: str, loss: Tensor) -> Tensor:
        """Return `loss` times the weight of `task`; the loss of one step, whose gradients are noted."""
        self._settle()
        self._pending = (task, self.weight(task))
        return loss * self._pending[1]

    def weight(self, task: str) -> float:
        """Return the weight of `task` by the gradients up to the step before."""
        own = self._norms.get(task)
        return fmean(self._norms.values()) / own if own else 1.0

    def stop(self) -> None:
        """Note no more gradients."""
        for hook in self._hooks:
            hook.remove()

    def _note(self, weight: Tensor) -> None:
        assert weight.grad is not None
        self._squares.append(weight.grad.square().sum())

    def _settle(self) -> None:
        """Take the gradient of the last step, without its weight, into its task's norm."""
        if not self._squares:
            return
        task, weight = self._pending
        norm = float(torch.stack(self._squares).sum().sqrt()) / weight
        self._squares.clear()
        if norm > 0:  # a batch without a label says nothing of the task's gradients
            self._norms[task] = _KEPT * self._norms.get(task, norm) + (1 - _KEPT) * norm


def hard_label_joint_loss(kinds: Mapping[str, TaskKind]) -> Loss:
    """Return the loss against the labels alone, of tasks of `kinds`."""

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
    """Train one encoder with a head a task, and return an ordinary model of transformers for each task.

    The models' encoders are the same modules: who changes one changes all. There are as many steps as training on
    each task alone would take together, each on a batch of one task in that task's batch size. The learning rate is
    the lowest of the tasks' own: above it some head may not settle. The weights that are kept are those whose mean
    of the tasks' headline scores on their validation parts is best. Every bench gets the run's share that its task
    took: its steps, examples and tokens, and of the seconds (all tasks' validations included) as many as of the
    tokens. Its learning curve has its own losses, before they are balanced, at the steps of the joint training.

    Args:
        benches: by task; two or more of one seed, whose order does not matter.
        exponents: a task's share of the steps is in proportion to its batches a pass raised to this; at the first and
            at the last step, as in `task_order`.
        balance: whether gradients are brought to one size by `GradientBalance`.
        loss: by default that against the labels; `batch` is of the one task that ``batch["task"]`` names.
        teacher_outputs: of each task, as `Bench.teacher_logits` returns them.
    """
    benches = {task: benches[task] for task in sorted(benches)}
    schedules = {task: bench.schedule() for task, bench in benches.items()}
    model = MultiTaskModel({task: bench.base() for task, bench in benches.items()})
    first = next(iter(benches.values()))
    whole = replace(
        first.schedule(),  # evaluations and seeds are the same for all
        steps=sum(schedule.steps for schedule in schedules.values()),
        batch_size=max(schedule.batch_size for schedule in schedules.values()),
        learning_rate=min(schedule.learning_rate for schedule in schedules.values()),
    )
    shared = model.shared_weights if balance else None
    kinds = {task: bench.kind for task, bench in benches.items()}
    loss = with_progress(loss or hard_label_joint_loss(kinds))
    counting = _CountingLoss(loss, whole.steps, shared, {task: _Done() for task in benches})
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
            teacher_outputs=_TeacherOfEach(teacher_outputs) if teacher_outputs else None,
            report=lambda step, steps, value: first.report("training", step, steps, value),
            batches=_batches(benches, schedules, whole, exponents),
            trackers=first.trackers("joint training"),
        )
    if counting.balance is not None:
        counting.balance.stop()
    for task, bench in benches.items():
        bench.runs.append(_share(run, counting.done[task], validation.of(task), validation.best[task]))
        bench.task_bytes = model.head_bytes(task)
    return dict(model.by_task)


class MultiTaskModel(nn.Module):
    """Models of one architecture, a task each, that share every part of the encoder which they have in common.

    Where one architecture's encoder ends with a pooler for texts and has none for tokens, as BERT's does, the tasks on
    texts share the pooler.

    Args:
        by_task: the models, all from the same base model; their encoders' parts are replaced by the first one's.
    """

    def __init__(self, by_task: Mapping[str, PreTrainedModel]) -> None:
        super().__init__()
        self.by_task = dict(by_task)
        self._models = nn.ModuleList(by_task.values())
        _share_encoder(list(by_task.values()))

    def forward(self, *, task: str, **inputs: Any) -> ModelOutput:
        """Return the outputs of the model of `task`, ``.logits`` among them, on a batch of `task`."""
        outputs: ModelOutput = self.by_task[task](**inputs)
        return outputs

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding table that all tasks share."""
        return next(iter(self.by_task.values())).get_input_embeddings()

    def set_input_embeddings(self, table: nn.Module) -> None:
        """Put `table` into every task's model."""
        for model in self.by_task.values():
            model.set_input_embeddings(table)

    def shared_weights(self) -> list[nn.Parameter]:
        """Return the weights that all tasks have part in."""
        held = Counter(id(weight) for model in self.by_task.values() for weight in model.parameters())
        return [weight for weight in self.parameters() if held[id(weight)] == len(self.by_task)]

    def head_bytes(self, task: str) -> int:
        """Return the bytes of what the model of `task` has beyond its encoder."""
        model = self.by_task[task]
        return trainable_bytes(model) - trainable_bytes(model.base_model)


def _share_encoder(models: Sequence[PreTrainedModel]) -> None:
    """Put the parts of the first encoder that has them in the place of all others of the same name."""
    shared: dict[str, Any] = {}
    for model in models:
        encoder = model.base_model
        parts: list[tuple[str, Any]] = [*encoder.named_children(), *encoder.named_parameters(recurse=False)]
        for name, part in parts:
            setattr(encoder, name, shared.setdefault(name, part))


@dataclass
class _Done:
    """What one task has had of the joint training."""

    examples: int = 0
    tokens: int = 0
    losses: dict[int, float] = field(default_factory=dict)
    """By the joint training's steps, from 1."""


@dataclass
class _CountingLoss:
    """The loss of a step, weighed by the balance; counts what each task has had."""

    loss: Loss
    steps: int
    shared: Callable[[], list[nn.Parameter]] | None
    """The weights whose gradients are balanced, asked for at the first step; None where they are not."""
    done: dict[str, _Done]
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
    """The mean of the tasks' headline scores on their validation parts."""

    def __init__(self, benches: Mapping[str, TrainingBench]) -> None:
        self._benches = benches
        self._scores: list[dict[str, float]] = []

    def __call__(self, model: nn.Module) -> float:
        scores = {
            task: bench.validation_score(_OneTask(model, task)) for task, bench in self._benches.items()
        }
        self._scores.append(scores)
        return fmean(scores.values())

    def of(self, task: str) -> list[float]:
        """Return the scores of `task`, in the order of the validations."""
        return [scores[task] for scores in self._scores]

    @property
    def best(self) -> dict[str, float]:
        """Each task's score where the mean was best first."""
        return max(self._scores, key=lambda scores: fmean(scores.values()))


class _OneTask(nn.Module):
    """A model of several tasks, asked for one; in training precision, as any other validation on the way."""

    def __init__(self, model: nn.Module, task: str) -> None:
        super().__init__()
        self._model = model
        self._task = task

    def forward(self, **inputs: Any) -> Any:
        return self._model(task=self._task, **inputs)


class _TeacherOfEach:
    """Each task's teacher for that task's batches."""

    def __init__(self, by_task: Mapping[str, TeacherOutputs]) -> None:
        self._by_task = by_task
        self.wanted = {name: value for outputs in by_task.values() for name, value in outputs.wanted.items()}

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


def _share(run: TrainingRun, done: _Done, scores: Sequence[float], best: float) -> TrainingRun:
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
