"""Define the Bench protocol: the data, models and training loop that the harness hands to a strategy."""

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

`student` and `teacher` are model outputs, with ``.logits`` and the requested hidden states and attentions; `progress`
is the fraction of the training steps done so far, from 0 to 1.
"""

Collate = Callable[[Sequence[Mapping[str, Any]]], Batch]
"""Collates encoded rows into one batch, padded to the longest."""

TeacherOutput = Literal["logits", "hidden_states", "attentions"]
"""Which teacher outputs a loss reads; each value includes those before it."""

Keep = Literal["best", "last"]
"""Which weights training returns: those with the best validation score, or those of the last step."""


class TeacherOutputs(Protocol):
    """The teacher's outputs that a loss reads, batch by batch."""

    @property
    def requested(self) -> Mapping[str, bool]:
        """Flags that both models' ``forward`` gets to return more than logits, such as ``output_hidden_states``."""

    def __call__(self, batch: Batch) -> Any:
        """Return the teacher's outputs for `batch`, in the same order and padding."""


class EncodedTask(Protocol):
    """A tokenized task, limited to the budget's number of examples and word pieces per row.

    Its splits are `datasets.Dataset` with the columns ``input_ids``, ``labels``, ``length`` (in word pieces), ``id``
    (row index) and ``example`` (example index: in token classification, a long sentence is split into several rows).
    """

    @property
    def task(self) -> Task:
        """The task, with its kind, labels and metric."""

    @property
    def train(self) -> datasets.Dataset:
        """The labelled training rows."""

    @property
    def validation(self) -> datasets.Dataset:
        """The rows for early stopping and for choosing settings."""

    @property
    def scored(self) -> datasets.Dataset:
        """The evaluation rows that the board's score is computed on; no strategy reads them."""

    @property
    def unlabelled(self) -> datasets.Dataset:
        """The rows of train that exceed the budget, with hidden labels."""

    @property
    def paired(self) -> bool:
        """Whether each example is a pair of texts."""


class Bench(Protocol):
    """Everything that a strategy needs to turn a base model and a task into a deployable model."""

    seed: int
    """The cell's seed; the harness already derives initialization, data order and dropout from it."""

    @property
    def task(self) -> EncodedTask:
        """The task with its tokenized splits ``train``, ``validation``, ``scored`` and ``unlabelled``."""

    @property
    def kind(self) -> TaskKind:
        """The task's kind, which defines the losses against labels and against a teacher's logits."""

    @property
    def params(self) -> Params:
        """The strategy's parameters."""

    @property
    def steps(self) -> int:
        """The optimizer steps that the budget gives every strategy on this task."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that the task's texts were encoded with."""

    @property
    def device(self) -> torch.device:
        """The device that models run on."""

    @property
    def teacher(self) -> PreTrainedModel:
        """The fine-tuned teacher, frozen and in evaluation mode; trained on first use and shared by all cells.

        One that the user provides may have another tokenizer: what `train` passes to a loss is matched already.
        """

    def teacher_embeddings(self) -> Tensor:
        """Return the teacher's input embeddings of the word pieces of `tokenizer`, ``(vocabulary, width)``, float32.

        Raises:
            UsageError: the teacher splits texts into other word pieces.
        """

    def base(self) -> PreTrainedModel:
        """Return the base model with a newly initialized head for the task."""

    def student(self, params: StudentParams) -> PreTrainedModel:
        """Return the untrained student that `params` describes."""

    def fitted(self) -> nn.Module:
        """Return the model that the stages before a transform produced, loaded from its artifact."""

    def finetuned(self) -> PreTrainedModel:
        """Return the base model fine-tuned for as many steps as the teacher, with this cell's parameters and seed."""

    def train(
        self,
        model: nn.Module,
        *,
        loss: Loss | None = None,
        teacher_outputs: TeacherOutput | Literal["none"] | None = None,
        rows: datasets.Dataset | None = None,
        share: float = 1.0,
        learning_rate: float | None = None,
        keep: Keep = "best",
        extra: nn.Module | None = None,
        after_step: Callable[[int], None] | None = None,
        rate_of: Callable[[str], float] | None = None,
    ) -> nn.Module:
        """Train `model` in place within the budget, and return it with the weights of the best validation score.

        Args:
            model: those of its parameters that require gradients are trained.
            loss: by default the loss against the labels.
            teacher_outputs: ``"logits"`` (computed once and cached), ``"hidden_states"`` or ``"attentions"`` (both
                models return these, too) or None; where `loss` is given, the default is the strategy's
                `teacher_outputs`. Hidden states are computed once and cached in bfloat16, zero at padding, if every
                row is read at least twice and they take at most 2 GB; otherwise, and for attentions, the teacher
                runs in every step.
            rows: the rows to train on, by default ``task.train``; some may be `UNLABELLED`. The number of steps
                stays the budget's, and a second stage on the same rows continues where the first ended.
            share: the fraction of the budget's steps to train for, for a strategy that trains in stages.
            learning_rate: the peak rate of this stage; by default the strategy's.
            keep: ``"best"`` validates during training, ``"last"`` does not.
            extra: a module that only the loss uses, trained jointly and then discarded, such as a projection between
                widths.
            after_step: called with the number of each step, from 1, after the optimizer's update.
            rate_of: the learning rate of a weight, by its name, as a multiple of the peak rate; by default 1 for all.
        """

    def teacher_logits(self, rows: datasets.Dataset) -> TeacherOutputs:
        """Return the teacher's logits on `rows`, computed once for all strategies.

        Raises:
            TypeError: the strategy does not set `teacher_outputs`.
        """

    def collate(self, rows: Sequence[Mapping[str, Any]]) -> Batch:
        """Collate encoded rows into one batch, padded to the longest."""

    def axis_seed(self, axis: Literal["data", "init", "dropout", "strategy"]) -> int:
        """Return the seed of one source of randomness; ``strategy`` is for the strategy's own random draws."""

    def outputs(
        self, model: nn.Module, rows: datasets.Dataset, *, phase: str
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return, for each row, the model's logits, ``(units, classes)``, and the row's labels, ``(units,)``.

        A unit is a text or, in token classification, a word, whose logits are those of its first word piece. `phase`
        names this step in the progress display.
        """

    def score(
        self, rows: datasets.Dataset, logits: Sequence[np.ndarray], labels: Sequence[np.ndarray]
    ) -> float:
        """Return the task's headline metric on the result of `outputs`, or on transformed logits; higher is better."""

    def count_fit(
        self, seconds: float, rows: datasets.Dataset, score: float, cpu_seconds: float | None = None
    ) -> None:
        """Add a fit on `rows` without optimizer steps (a closed-form solution, say) to the record's training cost.

        `score` is the headline metric on the validation split, `cpu_seconds` are those of `time.process_time`.
        """

    def sample(self, rows: datasets.Dataset, limit: int) -> datasets.Dataset:
        """Sample at most `limit` examples and return their rows in the order of `rows`; the same for every seed."""

    def read_texts(self, path: Path, limit: int) -> datasets.Dataset:
        """Return at most `limit` texts of a UTF-8 file, one text per line, as rows with hidden labels.

        If the task's examples are pairs, a tab separates the two texts; if they are tagged sentences, white space
        separates the words.

        Raises:
            UsageError: the file is missing or empty, or a line does not fit the task; names the line.
        """

    def answered(self, rows: datasets.Dataset) -> datasets.Dataset:
        """Return those of `rows` that have an answer, where the teacher is a file of answers.

        Raises:
            UsageError: the teacher is a model.
        """

    def answered_texts(self) -> datasets.Dataset:
        """Return the texts that are in the file of answers but in no split of the task, as rows with hidden labels.

        Raises:
            UsageError: the teacher is a model.
        """

    def hide_labels(self, rows: datasets.Dataset) -> datasets.Dataset:
        """Return `rows` with `UNLABELLED` in place of every label."""

    def replace_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Deploy the model with `tokenizer`; from here on, `task` is encoded with it."""


def model_inputs(batch: Mapping[str, Any]) -> Batch:
    """Return those entries of `batch` that a model's ``forward`` takes; ``task`` selects the head in a multi-task model."""
    return {
        name: batch[name]
        for name in ("input_ids", "attention_mask", "token_type_ids", "task")
        if name in batch
    }
