"""Describe the bench: what a strategy works with, and what it trains by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from kdbench.api.kinds import TaskKind
from kdbench.api.params import Params, StudentParams
from kdbench.api.task import Task

if TYPE_CHECKING:
    import datasets
    import numpy as np
    import torch
    from torch import Tensor, nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Batch = dict[str, Any]
"""Tensors by name: ``input_ids``, ``attention_mask`` and, where the tokenizer makes them, ``token_type_ids``, each
``(batch, sequence)``; ``labels``, ``(batch,)`` or ``(batch, sequence)``; ``id``, ``(batch,)``."""

Loss = Callable[..., "Tensor"]
"""``loss(student, batch, teacher) -> scalar``, or with a fourth parameter called ``progress``.

`student` and `teacher` are outputs of models, with ``.logits`` and what was asked for beside them; `progress` is the
share of the training's steps that are done, from 0 to 1.
"""

Collate = Callable[[Sequence[Mapping[str, Any]]], Batch]
"""Puts encoded rows into one batch, padded to the longest."""

TeacherOutput = Literal["logits", "hidden_states", "attentions"]
"""What a loss reads of the teacher; each holds those before it."""

Keep = Literal["best", "last"]
"""Which weights a training ends with: those of the best validation, or of the last step."""


class TeacherOutputs(Protocol):
    """What a loss reads of the teacher, batch by batch."""

    @property
    def wanted(self) -> Mapping[str, bool]:
        """What both models are asked for beyond logits, by the names of transformers (``output_hidden_states``)."""

    def __call__(self, batch: Batch) -> Any:
        """Return the teacher's outputs on `batch`, in its order and padding."""


class EncodedTask(Protocol):
    """A task whose texts are word pieces, cut to the budget.

    Its splits are `datasets.Dataset` with the columns ``input_ids``, ``labels``, ``length`` (in word pieces), ``id``
    (the row's number) and ``example`` (the example's number: a long sentence of tokens makes several rows).
    """

    @property
    def task(self) -> Task:
        """The task itself, with its kind, labels and metric."""

    @property
    def train(self) -> datasets.Dataset:
        """The labelled rows that are trained on."""

    @property
    def validation(self) -> datasets.Dataset:
        """The rows that weights and settings are chosen by."""

    @property
    def scored(self) -> datasets.Dataset:
        """The rows that the board's score is of; no strategy reads them."""

    @property
    def unlabelled(self) -> datasets.Dataset:
        """The rows of train that the budget leaves out, their labels hidden."""

    @property
    def paired(self) -> bool:
        """Whether an example is two texts."""


class Bench(Protocol):
    """All that a strategy needs to turn a base model and a task into a model."""

    seed: int
    """The cell's seed; initialization, data order and dropout already follow from it."""

    @property
    def task(self) -> EncodedTask:
        """The task with its encoded splits ``train``, ``validation``, ``scored`` and ``unlabelled``."""

    @property
    def kind(self) -> TaskKind:
        """The task's kind, which brings the losses against labels and against a teacher's logits."""

    @property
    def params(self) -> Params:
        """The strategy's parameters."""

    @property
    def steps(self) -> int:
        """The optimizer steps that the budget gives every strategy on this task."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that the task's texts were split by."""

    @property
    def device(self) -> torch.device:
        """The device that models run on."""

    @property
    def teacher(self) -> PreTrainedModel:
        """The fine-tuned teacher, frozen and in evaluation mode; trained at the first use by anyone."""

    def base(self) -> PreTrainedModel:
        """Return the base model with a fresh head for the task."""

    def student(self, params: StudentParams) -> PreTrainedModel:
        """Return the untrained student that `params` describes."""

    def fitted(self) -> nn.Module:
        """Return the model that the stages before a transform made, loaded from its files."""

    def finetuned(self) -> PreTrainedModel:
        """Return the base model fine-tuned for as long as the teacher, with this cell's parameters and seed."""

    def train(
        self,
        model: nn.Module,
        *,
        loss: Loss = ...,
        teacher_outputs: TeacherOutput | None = ...,
        rows: datasets.Dataset | None = None,
        share: float = 1.0,
        learning_rate: float | None = None,
        keep: Keep = "best",
        extra: nn.Module | None = None,
        after_step: Callable[[int], None] | None = None,
    ) -> nn.Module:
        """Train `model` in place within the budget, and return it with the weights that validated best.

        Args:
            model: its parameters that require gradients are trained.
            loss: by default the loss against the labels.
            teacher_outputs: ``"logits"`` (computed once, then nearly free), ``"hidden_states"`` or ``"attentions"``
                (the teacher runs in every step; both models answer with these, too) or None; where `loss` is given, by
                default the strategy's own `teacher_outputs`.
            rows: the rows to train on, by default ``task.train``; some may be `UNLABELLED`. The number of steps
                stays the budget's, and a second stage on the same rows goes on where the first ended.
            share: of the budget's steps, for a strategy that trains in stages.
            learning_rate: the peak rate of this stage; by default the strategy's.
            keep: ``"best"`` validates on the way, ``"last"`` does not.
            extra: a module that the loss uses, trained along and not kept: a projection between widths.
            after_step: called with the number of each step, from 1, after the optimizer's update.
        """

    def teacher_logits(self, rows: datasets.Dataset) -> TeacherOutputs:
        """Return the teacher's logits over `rows`, computed once for all strategies.

        Raises:
            TypeError: the strategy does not name its `teacher_outputs`.
        """

    def collate(self, rows: Sequence[Mapping[str, Any]]) -> Batch:
        """Return encoded rows as one batch, padded to the longest."""

    def axis_seed(self, axis: Literal["data", "init", "dropout", "strategy"]) -> int:
        """Return the seed of one axis of randomness; ``strategy`` is for what a strategy draws itself."""

    def outputs(
        self, model: nn.Module, rows: datasets.Dataset, *, phase: str
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return for each row the logits of `model`, ``(units, classes)``, and its labels, ``(units,)``.

        A unit is a text or, for tokens, a word, whose logits are those of its first word piece. `phase` is shown while
        it runs.
        """

    def score(
        self, rows: datasets.Dataset, logits: Sequence[np.ndarray], labels: Sequence[np.ndarray]
    ) -> float:
        """Return the task's headline metric of what `outputs` gave, or of logits made of it; higher is better."""

    def count_fit(self, seconds: float, rows: datasets.Dataset, score: float) -> None:
        """Count a fit on `rows` that took no optimizer steps, for the record's cost.

        Args:
            seconds: that it took.
            rows: that it read.
            score: the headline metric on the validation part.
        """

    def sample(self, rows: datasets.Dataset, limit: int) -> datasets.Dataset:
        """Return the rows of at most `limit` examples of `rows`, in their order; the same ones for every seed."""

    def read_texts(self, path: Path, limit: int) -> datasets.Dataset:
        """Return at most `limit` texts of a UTF-8 file, a text a line, as rows whose labels are hidden.

        Where the task's examples are pairs, a tab stands between the two texts; where they are sentences, white space
        between the words.

        Raises:
            UsageError: the file is missing, holds no text, or a line is no example of the task; names the line.
        """

    def hide_labels(self, rows: datasets.Dataset) -> datasets.Dataset:
        """Return `rows` with `UNLABELLED` in place of every label."""

    def replace_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Deploy the model with `tokenizer`: from here on `task` is encoded by it."""


def model_inputs(batch: Mapping[str, Any]) -> Batch:
    """Return what a model's ``forward`` takes of `batch`; ``task`` tells a model of several heads which to use."""
    return {
        name: batch[name]
        for name in ("input_ids", "attention_mask", "token_type_ids", "task")
        if name in batch
    }
