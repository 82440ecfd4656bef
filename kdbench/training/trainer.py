"""One training loop for every strategy, on `transformers.Trainer`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import datasets
import torch
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils.generic import ModelOutput

from kdbench.losses import task_loss
from kdbench.strategy import Params
from kdbench.training.batches import Batch, Collator, LengthGroupedSampler, model_inputs
from kdbench.training.device import has_fast_bf16, pick_device

Loss = Callable[[Any, Batch, Any], Tensor]
"""``loss(student, batch, teacher) -> scalar``; `student` and `teacher` answer ``.logits``."""


class TeacherOutputs(Protocol):
    """What a loss reads of the teacher, for one batch."""

    internals: bool
    """Whether hidden states and attentions are among it; then the student answers with them too."""

    def __call__(self, batch: Batch) -> SimpleNamespace | ModelOutput:
        """Return the teacher's outputs on `batch`, in its order and padding."""


@dataclass(frozen=True)
class Schedule:
    """How long to train, on what, from which seeds."""

    steps: int
    batch_size: int
    learning_rate: float
    evaluations: int
    data_seed: int
    dropout_seed: int


@dataclass(frozen=True)
class TrainingRun:
    """What one training loop did."""

    train_s: float
    steps: int
    examples: int
    tokens: int
    """Padding not counted."""
    best_score: float
    """The headline metric on the validation part, of the weights that were kept."""


def hard_label_loss(student: Any, batch: Batch, teacher: Any) -> Tensor:
    """Return the loss against the labels alone."""
    return task_loss(student.logits, batch["labels"])


def train(
    model: nn.Module,
    rows: datasets.Dataset,
    collate: Collator,
    *,
    params: Params,
    schedule: Schedule,
    validate: Callable[[nn.Module], float],
    scratch: Path,
    loss: Loss = hard_label_loss,
    teacher_outputs: TeacherOutputs | None = None,
    report: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> TrainingRun:
    """Train those parameters of `model` that require gradients, and leave it with the best validated ones.

    Args:
        validate: the score of the model on the validation part, higher is better.
        scratch: a folder that the Trainer may write to.
        report: told each step, their number, and the step's loss.

    Raises:
        FloatingPointError: the loss is no longer finite.
    """
    arguments = TrainingArguments(
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
        eval_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=pick_device().type == "cuda",
    )
    keeper = _BestWeights(validate, schedule, params.patience)
    trainer = _StrategyTrainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        data_collator=collate,
        callbacks=[keeper],
        loss=loss,
        report=report,
        teacher_outputs=teacher_outputs,
        sampler=LengthGroupedSampler(rows["length"], schedule.batch_size, schedule.data_seed),
    )
    trainer.remove_callback(PrinterCallback)  # `report` tells what there is to tell
    started = time.perf_counter()
    trainer.train()
    trainer.accelerator.unwrap_model(trainer.model_wrapped, keep_fp32_wrapper=False)
    keeper.restore(model)
    return TrainingRun(
        train_s=time.perf_counter() - started,
        steps=trainer.state.global_step,
        examples=trainer.examples,
        tokens=trainer.tokens,
        best_score=keeper.best_score,
    )


class _StrategyTrainer(Trainer):
    """The Trainer with a strategy's loss, the teacher's outputs and a data order of its own seed."""

    def __init__(
        self,
        *,
        loss: Loss,
        teacher_outputs: TeacherOutputs | None,
        sampler: Sampler[int],
        report: Callable[[int, int, float], None],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._loss = loss
        self._report = report
        self._teacher_outputs = teacher_outputs
        self._sampler = sampler
        internals = teacher_outputs is not None and teacher_outputs.internals
        self._wanted = {"output_hidden_states": True, "output_attentions": True} if internals else {}
        self.examples = 0
        self.tokens = 0

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return self._sampler

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        student = model(**model_inputs(inputs), **self._wanted)
        teacher = self._teacher_outputs(inputs) if self._teacher_outputs is not None else None
        loss = self._loss(student, inputs, teacher)
        self.examples += len(inputs["id"])
        self.tokens += int(inputs["attention_mask"].sum())
        step, value = self.state.global_step + 1, float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss became {value} at step {step}; lower the learning rate")
        self._report(step, self.state.max_steps, value)
        return (loss, student) if return_outputs else loss


class _BestWeights(TrainerCallback):
    """Validate a few times on the way and keep the best weights in memory."""

    def __init__(
        self, validate: Callable[[nn.Module], float], schedule: Schedule, patience: int | None
    ) -> None:
        self._validate = validate
        self._due = {
            math.ceil(schedule.steps * i / schedule.evaluations) for i in range(1, schedule.evaluations + 1)
        }
        self._patience = patience
        self._weights: dict[str, Tensor] = {}
        self._waited = 0
        self.best_score = -math.inf

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step not in self._due:
            return
        model: nn.Module = kwargs["model"]
        score = self._validate(model)
        if score > self.best_score:
            self.best_score, self._waited = score, 0
            trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
            buffers = {name for name, _ in model.named_buffers()}
            self._weights = {
                name: value.detach().clone()
                for name, value in model.state_dict().items()
                if name in trained or name in buffers
            }
            return
        self._waited += 1
        if self._patience is not None and self._waited >= self._patience:
            control.should_training_stop = True

    def restore(self, model: nn.Module) -> None:
        """Put the best weights back."""
        with torch.no_grad():
            model.load_state_dict(self._weights, strict=False)
