"""What all cells of one task share: data, base model, budget, results folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from kdbench.api.task import TaskKind
from kdbench.budgets import Budget
from kdbench.data import PreparedTask
from kdbench.data.batches import Collator
from kdbench.models.base import BaseModel
from kdbench.training.device import pick_device, training_precision


@dataclass(frozen=True)
class Experiment:
    """What all cells of one task share."""

    task: PreparedTask
    base: BaseModel
    budget: Budget
    results: Path
    tokenizer: PreTrainedTokenizerBase
    encode: Callable[[PreTrainedTokenizerBase], PreparedTask]
    """Encodes the task's data by another tokenizer."""
    given_teacher: BaseModel | None = None
    """A fine-tuned model that the user gives in the teacher's place."""
    report_to: tuple[str, ...] = ()
    """The trackers that are told of training."""

    def with_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> Experiment:
        """Return this experiment with its data encoded by `tokenizer`."""
        return replace(self, task=self.encode(tokenizer), tokenizer=tokenizer)

    @property
    def kind(self) -> TaskKind:
        """The task's kind."""
        return TaskKind(self.task.task.kind)

    @cached_property
    def device(self) -> torch.device:
        """The device that models run on."""
        return pick_device()

    @property
    def precision(self) -> AbstractContextManager[object]:
        """The precision of training and of what only training reads."""
        return training_precision(self.device)

    @cached_property
    def collate(self) -> Collator:
        """What puts encoded rows into batches."""
        return Collator(self.tokenizer)
