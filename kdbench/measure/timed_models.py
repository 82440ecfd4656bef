"""Load what the latency phase times: a row's model, inputs and tokenizer, and its exports to other back ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from kdbench.api.bench import Batch, model_inputs
from kdbench.budgets import BackEnd
from kdbench.data.encoding import example_numbers
from kdbench.measure.stopwatch import stopwatch_for
from kdbench.measure.timing import Candidate, vocabulary
from kdbench.models.artifacts import load_artifact
from kdbench.models.compiled import compiled
from kdbench.models.onnx import OnnxModel
from kdbench.models.openvino_graph import OpenVinoModel
from kdbench.results.paths import CellFiles
from kdbench.training.experiment import Experiment, with_own_tokenizer
from kdbench.training.teacher import TeacherStore
from kdbench.utils.system import axis_seed

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class TimedRow:
    """A row's model, not yet loaded, and the task's data as encoded by its tokenizer."""

    load: Callable[[], nn.Module]
    experiment: Experiment
    places: np.ndarray
    """The scored rows that are answered, in the word pieces of the model's own tokenizer."""

    @classmethod
    def of_cell(cls, experiment: Experiment, key: str, places: np.ndarray) -> TimedRow:
        """Return the row of the cell `key`.

        Raises:
            KdbenchError: its model is damaged.
        """
        files = CellFiles(experiment.results, key)
        files.check_model()
        own = with_own_tokenizer(experiment, files)
        return cls(lambda: load_artifact(files.artifact), own, _same_examples(places, experiment, own))

    @classmethod
    def of_teacher(cls, experiment: Experiment, places: np.ndarray) -> TimedRow:
        """Return the task's teacher, for a task without a row for it."""
        own = experiment.of_teacher if experiment.teacher_has_own_ids else experiment
        return cls(TeacherStore(experiment, seed=0).load, own, _same_examples(places, experiment, own))

    def candidate(self) -> Candidate:
        """Load the model in the back end that it is made for."""
        model = self.load().eval()
        if isinstance(model, OnnxModel):
            return self._graph(model, back_end_of(model), self.load)
        return self._candidate(model.to(self.experiment.device), BackEnd.TORCH, self.experiment.device)

    def graph(self, path: Path, config: dict[str, Any], back_end: BackEnd) -> Candidate:
        """Return the export of this row to `back_end` in the file `path` as a candidate."""

        def load() -> nn.Module:
            return graph_model(path.read_bytes(), config, back_end)

        return self._graph(load(), back_end, load)

    def compiled(self) -> Candidate:
        """Load the model, in float32 as it is exported, as torch.compile compiles it at its first call."""
        device = self.experiment.device
        model = self.load().float().to(device).eval()
        return self._candidate(compiled(model), BackEnd.TORCH_COMPILE, device)

    def _graph(self, model: nn.Module, back_end: BackEnd, load: Callable[[], nn.Module]) -> Candidate:
        """Return `model`, which `load` loads again, as a candidate; graphs always run on the CPU."""
        return self._candidate(_without_graph(model), back_end, _CPU, lambda: _without_graph(load()))

    def _candidate(
        self,
        model: nn.Module,
        back_end: BackEnd,
        device: torch.device,
        reload: Callable[[], nn.Module] | None = None,
    ) -> Candidate:
        @torch.inference_mode(False)  # for inputs of another kind, a compiled model is compiled again
        def padded(batch_size: int) -> Batch:
            return {name: value.to(device) for name, value in self.padded(batch_size).items()}

        return Candidate(
            model=model,
            back_end=back_end,
            device=device,
            inputs=[{name: value.to(device) for name, value in batch.items()} for batch in self.inputs],
            vocabulary=self.vocabulary,
            longest=longest_input(self.experiment.tokenizer, model),
            stopwatch=stopwatch_for(device),
            padded=padded,
            reload=reload,
        )

    @cached_property
    def inputs(self) -> list[Batch]:
        """Single scored rows, sampled with the task's distribution of lengths; with windows all those of a text."""
        return [self._batch([place]) for place in self.places]

    def padded(self, batch_size: int) -> Batch:
        """Return a batch of sampled rows, padded to the longest of them; with windows, of so many texts."""
        return self._batch(np.resize(self.places, batch_size))

    def _batch(self, places: Iterable[int]) -> Batch:
        rows = self.experiment.task.scored
        if self.experiment.budget.window_stride is not None:
            places = [row for place in places for row in self._windows(int(place))]
        return model_inputs(self.experiment.collate([rows[int(place)] for place in places]))

    def _windows(self, place: int) -> range:
        """Return the rows of the text whose first row is at `place`."""
        return range(place, int(np.searchsorted(self._examples, self._examples[place], side="right")))

    @cached_property
    def _examples(self) -> np.ndarray:
        """The number of each scored row's example, in ascending order."""
        return example_numbers(self.experiment.task.scored)

    @cached_property
    def vocabulary(self) -> list[int]:
        """The ids that inputs of the grid are sampled from."""
        return vocabulary(self.experiment.tokenizer)


def graph_model(graph: bytes, config: dict[str, Any], back_end: BackEnd) -> OnnxModel | OpenVinoModel:
    """Return the model of an ONNX `graph` that runs in `back_end`."""
    return (OpenVinoModel if back_end is BackEnd.OPENVINO else OnnxModel)(graph, config)


def _same_examples(places: np.ndarray, experiment: Experiment, own: Experiment) -> np.ndarray:
    """Return where the scored examples at `places` of `experiment` begin in the rows of `own`, of another tokenizer."""
    if own is experiment:
        return places
    examples, firsts = np.unique(example_numbers(own.task.scored), return_index=True)
    found: np.ndarray = firsts[np.searchsorted(examples, example_numbers(experiment.task.scored)[places])]
    return found


def _without_graph(model: nn.Module) -> nn.Module:
    if isinstance(model, OnnxModel | OpenVinoModel):
        model.graph = b""  # what runs it has its own copy; two per model would exceed the memory
    return model


def back_end_of(graph: OnnxModel) -> BackEnd:
    """Return the back end that `graph` runs in."""
    return BackEnd.ONNXRUNTIME_INT8 if graph.is_quantized() else BackEnd.ONNXRUNTIME


def drawn_rows(experiment: Experiment) -> np.ndarray:
    """Return the indices in the evaluation split of the rows that are timed, at most one per example.

    There are at most half as many as rounds, so that the second half of the rounds repeats the inputs of the first.
    """
    _, firsts = np.unique(example_numbers(experiment.task.scored), return_index=True)
    drawn: np.ndarray = np.random.default_rng(axis_seed(0, "latency inputs")).choice(
        firsts, min(experiment.budget.latency_rounds // 2, len(firsts)), replace=False
    )
    return drawn


def inputs_of_process(experiment: Experiment, process: int) -> np.ndarray:
    """Return those of `drawn_rows` that the process of this number answers; processes have inputs of their own.

    If a task has too few for that, all answer the same.
    """
    drawn, processes = drawn_rows(experiment), experiment.budget.latency_processes
    share = len(drawn) // processes
    return drawn[process * share : (process + 1) * share] if share else drawn


def longest_input(tokenizer: PreTrainedTokenizerBase, model: nn.Module) -> int:
    """Return the number of word pieces that `model` can read."""
    config = getattr(model, "config", None)
    name = "max_position_embeddings"
    positions = config.get(name) if isinstance(config, dict) else getattr(config, name, None)
    limits = [tokenizer.model_max_length, positions]
    return int(min(limit for limit in limits if isinstance(limit, int)))
