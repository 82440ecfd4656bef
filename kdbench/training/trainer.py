"""Run the training loop that all strategies share, on `transformers.Trainer`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from statistics import fmean
from typing import Any

import datasets
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import DataLoader
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from kdbench.api.bench import Batch, Loss, TeacherOutputs, model_inputs
from kdbench.api.kinds import TaskKind
from kdbench.api.params import Params
from kdbench.data.batches import Collator, length_grouped_batches
from kdbench.models.cost import COUNTED_DEVICES, flop_counter
from kdbench.results.records import LearningCurve
from kdbench.training.callbacks import BestWeights, Trackers
from kdbench.training.device import has_fast_bf16, pick_device
from kdbench.training.quick_dropout import quick_dropout
from kdbench.training.sparse_embeddings import only_used_rows
from kdbench.utils.system import Clock


@dataclass(frozen=True)
class Schedule:
    """Steps, batch size, peak learning rate, validations and seeds of a training loop."""

    steps: int
    batch_size: int
    learning_rate: float
    evaluations: int
    data_seed: int
    dropout_seed: int
    patience: int | None = None
    """Validations without a better score after which training stops early; None never stops."""

    def batches(self, lengths: Sequence[int], *, taken: int = 0) -> list[list[int]]:
        """Return the row indices of each step's batch, skipping the first `taken` batches of the order.

        Args:
            lengths: the rows' lengths.
        """
        order = length_grouped_batches(lengths, self.batch_size, self.data_seed)
        return list(islice(order, taken, taken + self.steps))


CURVE_POINTS = 50
"""Maximum number of points of a loss curve."""


@dataclass(frozen=True)
class TrainingRun:
    """The cost, the best score and the learning curve of one training loop."""

    train_s: float
    steps: int
    examples: int
    tokens: int
    """Word pieces trained on, without padding."""
    best_score: float | None
    """The headline metric on the validation split of the weights that were kept; None without validation."""
    train_cpu_s: float | None = None
    """Processor seconds of the loop; None where they were not measured."""
    train_flops: int | None = None
    """Operations of all steps, including a teacher that runs in each step: those of the first step, forward and backward,
    as counted at run time, times the ratio of all steps' positions (with padding) to the first step's. Exact to a few
    percent, since attention takes more in longer texts. No backward pass is counted for frozen weights; validations and
    the optimizer are left out. None if not counted: on several GPUs, and on devices other than CPU and CUDA."""
    curve: LearningCurve | None = None
    """Losses and validation scores; None for a fit without steps."""

    @property
    def costed_curve(self) -> LearningCurve | None:
        """The learning curve with the examples and operations of the loop."""
        cost = {"examples": self.examples, "train_flops": self.train_flops}
        return None if self.curve is None else self.curve.model_copy(update=cost)


def hard_label_loss(kind_of: Callable[[Batch], TaskKind]) -> Loss:
    """Return the loss against hard labels; `kind_of` returns the kind of the task that a batch belongs to."""

    def loss(student: Any, batch: Batch, teacher: Any) -> Tensor:
        return kind_of(batch).label_loss(student.logits, batch["labels"])

    return loss


def with_progress(loss: Loss) -> Loss:
    """Return `loss` as a function that accepts ``progress``, whether or not `loss` has that parameter."""
    if "progress" in inspect.signature(loss).parameters:
        return loss
    return lambda student, batch, teacher, progress: loss(student, batch, teacher)


def train(
    model: nn.Module,
    rows: datasets.Dataset,
    collate: Collator,
    *,
    params: Params,
    schedule: Schedule,
    validate: Callable[[nn.Module], float] | None,
    scratch: Path,
    loss: Loss | None = None,
    teacher_outputs: TeacherOutputs | None = None,
    report: Callable[[int, int, float], None] = lambda step, steps, loss: None,
    extra: nn.Module | None = None,
    after_step: Callable[[int], None] | None = None,
    batches: Sequence[Sequence[int]] | None = None,
    rates: Sequence[float] | None = None,
    rate_of: Callable[[str], float] | None = None,
    trackers: Trackers | None = None,
) -> TrainingRun:
    """Train `model` in place and restore the weights of the best validation; see also `kdbench.Bench.train`.

    Args:
        rows: encoded examples; if `batches` are given, any sequence indexed by number.
        validate: returns the model's score on the validation split, higher is better; None keeps the last weights.
        scratch: a folder that the Trainer may write to.
        report: called in each step with its number, the number of steps, and its loss.
        after_step: as there, before the gradients are cleared.
        batches: the row indices of each step's batch; by default the schedule's first batches.
        rates: each step's learning rate as a multiple of the schedule's; by default 1.
        rate_of: a weight's learning rate, by its name, as a multiple of the schedule's; by default 1.
        trackers: get the mean losses over at most `CURVE_POINTS` intervals and the validation scores, as they come.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    batches = schedule.batches(rows["length"]) if batches is None else batches
    keeper = validate and BestWeights(
        lambda trained: validate(model),
        steps=schedule.steps,
        evaluations=schedule.evaluations,
        patience=schedule.patience,
    )
    callbacks = [callback for callback in (keeper, after_step and _AfterStep(after_step)) if callback]
    used = set(chain.from_iterable(batches))
    pieces = chain.from_iterable(rows[row]["input_ids"] for row in used)
    with only_used_rows(model, pieces), quick_dropout(model):
        trained = _Trained(model, extra)
        trainer = _StrategyTrainer(
            model=trained,
            args=_training_arguments(params, schedule, scratch, trackers),
            train_dataset=rows,
            data_collator=collate,
            callbacks=callbacks,
            loss=loss or hard_label_loss(lambda batch: collate.kind),
            report=report,
            teacher_outputs=teacher_outputs,
            batches=batches,
            rates=rates,
            rate_of=rate_of,
        )
        trainer.remove_callback(PrinterCallback)  # progress goes to `report`
        if trackers is not None:
            trainer.add_callback(trackers.tensorboard())
            if keeper is not None:
                keeper.log = trainer.log
        clock = Clock()
        trainer.train()
        if keeper is not None:
            keeper.restore(trained)
    taken = clock.read()
    return TrainingRun(
        train_s=taken.wall,
        train_cpu_s=taken.cpu,
        steps=trainer.state.global_step,
        examples=trainer.examples,
        tokens=trainer.tokens,
        best_score=keeper.best_score if keeper is not None else None,
        train_flops=trainer.train_flops,
        curve=learning_curve(
            dict(enumerate(trainer.losses, start=1)), keeper.scores if keeper is not None else {}
        ),
    )


def _training_arguments(
    params: Params, schedule: Schedule, scratch: Path, trackers: Trackers | None
) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(scratch),
        max_steps=schedule.steps,
        per_device_train_batch_size=schedule.batch_size,
        learning_rate=schedule.learning_rate,
        weight_decay=params.weight_decay,
        warmup_steps=math.ceil(params.warmup * schedule.steps),
        lr_scheduler_type="linear",
        max_grad_norm=params.max_grad_norm,
        optim="adamw_torch_fused",
        bf16=has_fast_bf16(pick_device()),
        use_cpu=pick_device().type == "cpu",
        seed=schedule.dropout_seed,
        save_strategy="no",
        logging_strategy="steps" if trackers else "no",
        logging_steps=max(1, math.ceil(schedule.steps / CURVE_POINTS)),
        report_to=list(trackers.report_to) if trackers else "none",
        run_name="/".join(trackers.run) if trackers else None,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=pick_device().type == "cuda",
    )


def learning_curve(losses: Mapping[int, float], scores: Mapping[int, float]) -> LearningCurve:
    """Return the mean losses over at most `CURVE_POINTS` intervals of equally many steps, and the validation scores.

    Args:
        losses: loss by step, in ascending order; steps may be missing.
        scores: validation score by the step after which it was taken.
    """
    steps, values = list(losses), list(losses.values())
    interval = max(1, math.ceil(len(steps) / CURVE_POINTS))
    starts = range(0, len(steps), interval)
    return LearningCurve(
        steps=tuple(steps[start : start + interval][-1] for start in starts),
        losses=tuple(fmean(values[start : start + interval]) for start in starts),
        validated=tuple(scores),
        scores=tuple(scores.values()),
    )


class _StrategyTrainer(Trainer):
    """A Trainer with a strategy's loss, the teacher's outputs and given batches; counts tokens, losses and FLOPs."""

    def __init__(
        self,
        *,
        loss: Loss,
        teacher_outputs: TeacherOutputs | None,
        batches: Sequence[Sequence[int]],
        report: Callable[[int, int, float], None],
        rates: Sequence[float] | None,
        rate_of: Callable[[str], float] | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._rates = rates
        self._rate_of = rate_of
        self._loss = with_progress(loss)
        self._report = report
        self._teacher_outputs = teacher_outputs
        self._batches = batches
        self._requested = teacher_outputs.requested if teacher_outputs is not None else {}
        self.losses: list[float] = []
        self.examples = 0
        self.tokens = 0
        self._positions = 0
        self._first_step: tuple[int, int] | None = None
        """Operations and positions of the first step."""

    @property
    def train_flops(self) -> int | None:
        """The operations of all steps so far, as defined in `TrainingRun`."""
        if self._first_step is None:
            return None
        flops, positions = self._first_step
        return round(flops * self._positions / positions)

    def get_train_dataloader(self) -> DataLoader[Any]:
        loader: DataLoader[Any] = DataLoader(
            self.train_dataset,  # type: ignore[arg-type]
            batch_sampler=self._batches,  # type: ignore[arg-type]
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Optimizer:
        optimizer: Optimizer = super().create_optimizer(*args, **kwargs)
        if self._rate_of is not None:
            names = {weight: name for name, weight in self.model.named_parameters()}  # type: ignore[union-attr]
            optimizer.param_groups[:] = [
                part
                for group in optimizer.param_groups
                for part in _by_rate(group, lambda weight: self._rate_of(names[weight]))  # type: ignore[misc]
            ]
        return optimizer

    def create_scheduler(self, *args: Any, **kwargs: Any) -> LRScheduler:
        scheduler: LambdaLR = super().create_scheduler(*args, **kwargs)  # type: ignore[assignment]
        if self._rates is not None:
            scheduler.lr_lambdas = [_scaled(shape, self._rates) for shape in scheduler.lr_lambdas]
            for group, base, shape in zip(
                scheduler.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True
            ):
                group["lr"] = base * shape(0)
        return scheduler

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        # On several GPUs, threads share a batch; the counter does not see their operations.
        if self._positions or self.args.n_gpu > 1 or self.args.device.type not in COUNTED_DEVICES:
            return super().training_step(*args, **kwargs)
        random_state = torch.get_rng_state()
        try:
            with flop_counter() as counter:
                loss = super().training_step(*args, **kwargs)
            flops = counter.get_total_flops()
        except Exception:
            # The counter does not know every way of computing; an error of the step's own is raised again.
            self.examples, self.tokens, self._positions = 0, 0, 0
            self.losses.clear()
            torch.set_rng_state(random_state)
            self.optimizer.zero_grad()  # type: ignore[union-attr]  # training has begun
            return super().training_step(*args, **kwargs)
        self._first_step = (flops, self._positions) if flops else None
        return loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        student = model(**model_inputs(inputs), **self._requested)
        teacher = self._teacher_outputs(inputs) if self._teacher_outputs is not None else None
        progress = self.state.global_step / self.state.max_steps
        loss: Tensor = self._loss(student, inputs, teacher, progress=progress)
        self.examples += len(inputs["id"])
        self.tokens += int(inputs["attention_mask"].sum())
        self._positions += inputs["attention_mask"].numel()
        step, value = self.state.global_step + 1, float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss became {value} at step {step}; lower the learning rate")
        self.losses.append(value)
        self._report(step, self.state.max_steps, value)
        return (loss, student) if return_outputs else loss


def _by_rate(group: dict[str, Any], rate_of: Callable[[Tensor], float]) -> Iterator[dict[str, Any]]:
    """Yield a part of an optimizer's parameter group for each multiple of its learning rate."""
    by_rate: dict[float, list[Tensor]] = {}
    for weight in group["params"]:
        by_rate.setdefault(rate_of(weight), []).append(weight)
    for rate, weights in by_rate.items():
        yield {**group, "params": weights, "lr": group["lr"] * rate}


def _scaled(shape: Callable[[int], float], rates: Sequence[float]) -> Callable[[int], float]:
    return lambda step: shape(step) * rates[min(step, len(rates) - 1)]


class _Trained(nn.Module):
    """Wraps a model and the modules that only the loss uses, so that one optimizer trains both.

    accelerate replaces the ``forward`` of what it trains, to run it in training precision, and skips a module that it
    has seen before. A wrapper per training loop keeps `model` as it is, and a second loop in the same precision.
    """

    def __init__(self, model: nn.Module, extra: nn.Module | None) -> None:
        super().__init__()
        self.model = model
        self.extra = extra

    def forward(self, **inputs: Any) -> Any:
        return self.model(**inputs)


class _AfterStep(TrainerCallback):
    """Calls a strategy's `after_step` with the number of each optimizer step."""

    def __init__(self, after_step: Callable[[int], None]) -> None:
        self._after_step = after_step

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._after_step(state.global_step + 1)
