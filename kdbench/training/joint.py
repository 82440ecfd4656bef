"""Several tasks trained together: one encoder, a head a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils.generic import ModelOutput

from kdbench.api.losses import task_loss
from kdbench.data.batches import Batch
from kdbench.files import scratch_folder
from kdbench.models.cost import trainable_bytes
from kdbench.training.bench import Bench
from kdbench.training.gradient_balance import GradientBalance
from kdbench.training.joint_batches import JointCollator, JointRows, joint_batches, task_order
from kdbench.training.schedule import Schedule
from kdbench.training.trainer import TeacherOutputs, TrainingRun, learning_curve, train

JointLoss = Callable[[Any, Batch, Any, float], Tensor]
"""``loss(student, batch, teacher, progress) -> scalar``.

`batch` is of the one task that ``batch["task"]`` names; `progress` is the share of the steps that are done, from 0.
"""


def hard_label_joint_loss(student: Any, batch: Batch, teacher: Any, progress: float) -> Tensor:
    """Return the loss against the labels alone."""
    return task_loss(student.logits, batch["labels"])


def train_jointly(
    benches: Mapping[str, Bench],
    *,
    exponents: tuple[float, float] = (1.0, 1.0),
    balance: bool = False,
    loss: JointLoss = hard_label_joint_loss,
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
        loss: by default that against the labels.
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
    counting = _CountingLoss(loss, whole.steps, shared, {task: _Done() for task in benches})
    validation = _Validation(benches)
    with scratch_folder(first.experiment.results) as scratch:
        run = train(
            model,
            JointRows({task: bench.task.train for task, bench in benches.items()}),
            JointCollator(first.experiment.tokenizer),
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

    loss: JointLoss
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
        value = self.loss(student, batch, teacher, steps_before / self.steps)
        done = self.done[task]
        done.examples += len(batch["id"])
        done.tokens += int(batch["attention_mask"].sum())
        done.losses[steps_before + 1] = float(value.detach())
        return value if self.balance is None else self.balance.weigh(task, value)


class _Validation:
    """The mean of the tasks' headline scores on their validation parts."""

    def __init__(self, benches: Mapping[str, Bench]) -> None:
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

    def __call__(self, batch: Batch) -> SimpleNamespace | ModelOutput:
        return self._by_task[str(batch["task"])](batch)


def _batches(
    benches: Mapping[str, Bench],
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
