"""Hold what checks share: tiny models, tasks and teachers in a temporary folder, each made when it is first needed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import PreTrainedTokenizerBase

from kdbench.api.task import TaskKind
from kdbench.budgets import Budget
from kdbench.config import DataSettings
from kdbench.data import PreparedTask, load_task, prepare
from kdbench.data.loading import TaskData
from kdbench.models.base import resolve_base_model
from kdbench.models.foreign import load_tokenizer
from kdbench.plugins import load_plugins
from kdbench.registry import Registry
from kdbench.testing.tiny_models import ARCHITECTURES
from kdbench.testing.tiny_tasks import CUES, FILLER, Labelling, TinyTask, labelling_of
from kdbench.training.experiment import Experiment, quiet_libraries

BUDGET = Budget(
    name="checks",
    train_examples=32,
    validation_examples=8,
    scored_examples=16,
    noisy_examples=1,
    steps={TaskKind.SEQUENCE_CLASSIFICATION: 4},
    batch_size={TaskKind.SEQUENCE_CLASSIFICATION: 4},
    max_length=32,
    evaluations=1,
)
"""Four steps of four examples: what is checked is what a strategy does, not what it learns."""


class Laboratory:
    """Tiny models, tasks and teachers; its folder is deleted with it.

    Args:
        registry: the plugins whose strategies, kinds and metrics may be named; by default the installed ones.
    """

    def __init__(self, registry: Registry | None = None) -> None:
        quiet_libraries()
        self.registry = registry or load_plugins()
        self._temporary = TemporaryDirectory(prefix="kdbench-check-")
        self.folder = Path(self._temporary.name)
        self.cache_dir = self.folder / "cache"
        self._experiments: dict[tuple[str, str], Experiment] = {}

    def experiment(self, architecture: str, kind: TaskKind, labelling: Labelling | None = None) -> Experiment:
        """Return the experiment of the tiny task of `kind` on the tiny model of `architecture`."""
        key = architecture, str(kind)
        if key not in self._experiments:
            task = TinyTask(kind, labelling or labelling_of(kind))
            data = load_task(task, DataSettings(cache_dir=self.cache_dir))
            self._experiments[key] = self.experiment_on(data, architecture)
        return self._experiments[key]

    def experiment_on(self, data: TaskData, architecture: str) -> Experiment:
        """Return an experiment on `data` and the tiny model of `architecture`."""
        base = resolve_base_model(str(self._model(architecture)), self.cache_dir)
        tokenizer = load_tokenizer(base.path)

        def encode(tokenizer: PreTrainedTokenizerBase) -> PreparedTask:
            return prepare(data, BUDGET, tokenizer, self.cache_dir)

        return Experiment(
            task=encode(tokenizer),
            base=base,
            budget=BUDGET,
            results=self.folder / "results",
            tokenizer=tokenizer,
            encode=encode,
            metrics=self.registry.metrics,
        )

    def _model(self, architecture: str) -> Path:
        folder = self.folder / "models" / architecture
        if not folder.exists():
            ARCHITECTURES[architecture](folder, (*CUES, *FILLER))
        return folder


@cache
def shared_laboratory() -> Laboratory:
    """Return the laboratory of this process for the installed plugins, so that each teacher is trained once."""
    return Laboratory()
