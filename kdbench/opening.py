"""From the settings and a task's name to everything that its cells share."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import datasets
import transformers
from transformers import PreTrainedTokenizerBase

from kdbench.api.task import Task
from kdbench.config import RunConfig
from kdbench.data import PreparedTask, load_task, prepare
from kdbench.models.base import BaseModel, resolve_base_model
from kdbench.models.build import check_given_teacher, load_tokenizer
from kdbench.plugins import load_registry
from kdbench.registry import Registry
from kdbench.training.experiment import Experiment


@dataclass(frozen=True)
class Opened:
    """The plugins and one task's experiment."""

    registry: Registry
    experiment: Experiment


def open_experiment(config: RunConfig, task: str) -> Opened:
    """Return the experiment of `task`, its data read and encoded; what is in the cache is not done again."""
    registry = load_registry(config)
    base = resolve_base_model(config.model, config.cache_dir)
    return Opened(registry, make_experiment(config, registry.task(task), base))


def make_experiment(config: RunConfig, task: Task, base: BaseModel) -> Experiment:
    """Return the experiment of `task` on `base`."""
    quiet_libraries()
    tokenizer = load_tokenizer(base.path)
    data = load_task(task, config.data)

    def encode(tokenizer: PreTrainedTokenizerBase) -> PreparedTask:
        return prepare(data, config.resolved_budget, tokenizer, config.cache_dir)

    teacher = None
    if config.teacher is not None:
        teacher = resolve_base_model(config.teacher, config.cache_dir)
        check_given_teacher(teacher.path, task, tokenizer)
    return Experiment(
        task=encode(tokenizer),
        base=base,
        budget=config.resolved_budget,
        results=config.results,
        tokenizer=tokenizer,
        encode=encode,
        given_teacher=teacher,
        report_to=tuple(config.report_to),
    )


def quiet_libraries() -> None:
    """Silence progress bars and remarks on fresh heads or old names; what goes wrong is raised, not logged."""
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
