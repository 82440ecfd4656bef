"""Set up what all cells of one task share: data, base model, budget, results folder."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import datasets
import numpy as np
import torch
import transformers
from transformers import PreTrainedTokenizerBase

from kdbench.api.kinds import TaskKind
from kdbench.api.metric import Metric, get_metric
from kdbench.api.params import StudentParams
from kdbench.api.strategy import Strategy
from kdbench.budgets import Budget
from kdbench.config import RunConfig, default_cache_dir, is_answers
from kdbench.data import PreparedTask, load_task, prepare
from kdbench.data.answers import AnswersFile, open_answers
from kdbench.data.batches import Collator
from kdbench.data.loading import TaskData
from kdbench.data.matching import Integers, are_split_alike, same_pieces
from kdbench.data.splitting import Choice, choose
from kdbench.evaluation.metrics import METRICS
from kdbench.models.base import BaseModel, resolve_base_model
from kdbench.models.external_teacher import check_external_teacher
from kdbench.models.foreign import load_tokenizer
from kdbench.plugins import load_registry
from kdbench.registry import Registry
from kdbench.results.paths import CellFiles, read_fit
from kdbench.training.answers import AnswerTeacher
from kdbench.training.device import pick_device, training_precision
from kdbench.utils.files import user_path


@dataclass(frozen=True)
class Experiment:
    """The data, models and settings that all cells of one task share."""

    task: PreparedTask
    base: BaseModel
    budget: Budget
    results: Path
    tokenizer: PreTrainedTokenizerBase
    encode: Callable[[PreTrainedTokenizerBase], PreparedTask]
    """Encodes the task's data with another tokenizer."""
    external_teacher: BaseModel | None = None
    """A model that the user provides as the teacher: a fine-tuned one, or an encoder that is fine-tuned."""
    answers: AnswersFile | None = None
    """A file of answers that the user provides as the teacher."""
    report_to: tuple[str, ...] = ()
    """The experiment trackers that training reports to."""
    metrics: Mapping[str, Metric] = field(default_factory=lambda: METRICS)
    """The registered metrics; by default only kdbench's own."""
    cache_dir: Path = field(default_factory=default_cache_dir)
    """Where a student's own checkpoint is fetched to."""
    origin: Experiment | None = None
    """Where `base` is a student's own checkpoint, the experiment of the teacher and of the other rows."""

    def with_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> Experiment:
        """Return this experiment with its data encoded with `tokenizer`."""
        return replace(self, task=self.encode(tokenizer), tokenizer=tokenizer)

    @property
    def kind(self) -> TaskKind:
        """The task's kind."""
        return self.task.task.kind

    @property
    def metric(self) -> Metric:
        """The task's headline metric."""
        return get_metric(self.task.task.metric, self.metrics)

    @cached_property
    def answer_teacher(self) -> AnswerTeacher | None:
        """The teacher that is a file of answers; None where the teacher is a model."""
        return None if self.answers is None else AnswerTeacher(self.answers, self)

    @cached_property
    def of_teacher(self) -> Experiment:
        """The experiment as the teacher sees it: the model that it is or is trained from, and the data in its word pieces."""
        if self.origin is not None:
            return self.origin.of_teacher
        if self.external_teacher is None:
            return self
        tokenizer = load_tokenizer(self.external_teacher.path)
        return replace(self.with_tokenizer(tokenizer), base=self.external_teacher, external_teacher=None)

    def for_student(self, checkpoint: str | None) -> Experiment:
        """Return the experiment of a student of its own `checkpoint`: that is the base, and its tokenizer encodes the data.

        Raises:
            UsageError: there is no such model.
        """
        if checkpoint is None:
            return self
        base = resolve_base_model(checkpoint, self.cache_dir, "student")
        return replace(self.with_tokenizer(load_tokenizer(base.path)), base=base, origin=self)

    @cached_property
    def trains_teacher(self) -> bool:
        """Whether the teacher is trained here: the base model, or an encoder that the user provides."""
        teacher = self.external_teacher
        return teacher is None or not check_external_teacher(teacher.path, self.task.task)

    @property
    def encoded_pairs(self) -> Iterator[tuple[datasets.Dataset, datasets.Dataset]]:
        """The rows of each split with those that the teacher's tokenizer makes of the same examples."""
        own, teachers = self.task, self.of_teacher.task
        for name in ("train", "unlabelled", "validation", "scored"):
            yield getattr(own, name), getattr(teachers, name)

    @cached_property
    def teacher_ids(self) -> Integers | None:
        """For each id of the tokenizer the teacher's of the same word piece; None where it splits the texts otherwise."""
        ids = same_pieces(self.tokenizer, self.of_teacher.tokenizer)
        return ids if are_split_alike(self.encoded_pairs, ids) else None

    @cached_property
    def teacher_has_own_ids(self) -> bool:
        """Whether the teacher reads other ids than the tokenizer makes of the texts."""
        if self.of_teacher is self:
            return False
        return self.teacher_ids is None or not np.array_equal(
            self.teacher_ids, np.arange(len(self.tokenizer))
        )

    @property
    def other_splits(self) -> str | None:
        """Why no strategy can match hidden states with the teacher's, word piece by word piece; None where they can."""
        if not self.teacher_has_own_ids or self.teacher_ids is not None:
            return None
        return (
            f"the teacher {self.of_teacher.base.name} splits the texts into other word pieces than {self.base.name}, so that its "
            "hidden states cannot be matched with the student's"
        )

    @cached_property
    def device(self) -> torch.device:
        """The device that models run on."""
        return pick_device()

    @property
    def precision(self) -> AbstractContextManager[object]:
        """The autocast context of training, also used for validation and the teacher's logits."""
        return training_precision(self.device)

    @cached_property
    def collate(self) -> Collator:
        """The collator of encoded rows."""
        return Collator(self.tokenizer, self.kind, self.budget.window_pooling)


def with_own_tokenizer(experiment: Experiment, files: CellFiles) -> Experiment:
    """Return `experiment` with its data encoded with the artifact's tokenizer, if that is not the base model's."""
    if not read_fit(files).own_tokenizer:
        return experiment
    return experiment.with_tokenizer(load_tokenizer(files.artifact))


@dataclass(frozen=True)
class OpenedExperiment:
    """The registered plugins and one task's experiment."""

    registry: Registry
    experiment: Experiment


def open_experiment(config: RunConfig, task: str) -> OpenedExperiment:
    """Load the plugins and set up the experiment of `task`, with its data read and encoded (or taken from the cache)."""
    registry = load_registry(config)
    base = resolve_base_model(config.model, config.cache_dir)
    return OpenedExperiment(registry, make_experiment(config, registry, task, base))


def make_experiment(
    config: RunConfig,
    registry: Registry,
    name: str,
    base: BaseModel,
    choice_of: Callable[[TaskData, Budget], Choice] = choose,
) -> Experiment:
    """Set up the experiment of the task `name` on `base`, with the examples that `choice_of` chooses."""
    quiet_libraries()
    task = registry.task(name)
    tokenizer = load_tokenizer(base.path)
    data = load_task(task, config.data)

    def encode(tokenizer: PreTrainedTokenizerBase) -> PreparedTask:
        return prepare(data, config.resolved_budget, tokenizer, config.cache_dir, choice_of)

    teacher = answers = None
    if config.teacher is not None and is_answers(config.teacher):
        answers = open_answers(user_path(config.teacher), data)
    elif config.teacher is not None:
        teacher = resolve_base_model(config.teacher, config.cache_dir, "--teacher")
        check_external_teacher(teacher.path, task)
    return Experiment(
        task=encode(tokenizer),
        base=base,
        budget=config.resolved_budget,
        results=config.results,
        tokenizer=tokenizer,
        encode=encode,
        external_teacher=teacher,
        answers=answers,
        report_to=tuple(config.report_to),
        metrics=registry.metrics,
        cache_dir=config.cache_dir,
    )


def student_of(strategy: Strategy) -> str | None:
    """Return the student's own checkpoint that the parameters of `strategy` name; None if they name none."""
    params = strategy.params
    return params.student if isinstance(params, StudentParams) else None


def quiet_libraries() -> None:
    """Silence the libraries' progress bars, and warnings such as those on new heads; errors are raised, not logged."""
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
