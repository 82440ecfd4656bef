"""Load what the latency phase times: a row's model, inputs and tokenizer, and its exports to ONNX Runtime."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from kdbench.api.bench import Batch, model_inputs
from kdbench.api.predictions import Predictions
from kdbench.budgets import BackEnd
from kdbench.config import RunConfig
from kdbench.data.encoding import example_numbers, rows_of
from kdbench.errors import KdbenchError
from kdbench.evaluation.diagnostics import select_examples
from kdbench.measure.stopwatch import stopwatch_for
from kdbench.measure.timing import Candidate, vocabulary
from kdbench.models.artifacts import load_artifact
from kdbench.models.onnx import OnnxModel, example_inputs, quantize
from kdbench.results.paths import CellFiles
from kdbench.training.experiment import Experiment, open_experiment, with_own_tokenizer
from kdbench.training.predict import predict
from kdbench.training.teacher import TeacherStore
from kdbench.utils.system import Clock, axis_seed, usable_cores

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class TimedRow:
    """A row's model, not yet loaded, and the task's data as encoded by its tokenizer."""

    load: Callable[[], nn.Module]
    experiment: Experiment
    places: np.ndarray
    """The scored rows that are answered."""

    @classmethod
    def of_cell(cls, experiment: Experiment, key: str, places: np.ndarray) -> TimedRow:
        """Return the row of the cell `key`.

        Raises:
            KdbenchError: its model is damaged.
        """
        files = CellFiles(experiment.results, key)
        files.check_model()
        return cls(lambda: load_artifact(files.artifact), with_own_tokenizer(experiment, files), places)

    @classmethod
    def of_teacher(cls, experiment: Experiment, places: np.ndarray) -> TimedRow:
        """Return the task's teacher, for a task without a row for it."""
        return cls(TeacherStore(experiment, seed=0).load, experiment, places)

    def candidate(self) -> Candidate:
        """Load the model in the back end that it is made for."""
        model = self.load().eval()
        if isinstance(model, OnnxModel):
            return self._graph(model, self.load)
        return self._candidate(model.to(self.experiment.device), BackEnd.TORCH, self.experiment.device)

    def graph(self, path: Path, config: dict[str, Any]) -> Candidate:
        """Return the export of this row in the file `path` as a candidate."""

        def load() -> OnnxModel:
            return OnnxModel(path.read_bytes(), config)

        return self._graph(load(), load)

    def _graph(self, model: OnnxModel, load: Callable[[], nn.Module]) -> Candidate:
        """Return `model`, which `load` loads again, as a candidate; graphs always run on the CPU."""
        back_end = back_end_of(model)
        model.graph = b""  # the session has its own copy; two per model would exceed the memory
        return self._candidate(model, back_end, _CPU, lambda: _without_graph(load()))

    def _candidate(
        self,
        model: nn.Module,
        back_end: BackEnd,
        device: torch.device,
        reload: Callable[[], nn.Module] | None = None,
    ) -> Candidate:
        def padded(batch_size: int) -> Batch:
            return {name: value.to(device) for name, value in self.padded(batch_size).items()}

        return Candidate(
            model=model,
            back_end=back_end,
            device=device,
            inputs=[{name: value.to(device) for name, value in batch.items()} for batch in self.inputs],
            vocabulary=self.vocabulary,
            longest=_longest(self.experiment, model),
            stopwatch=stopwatch_for(device),
            padded=padded,
            reload=reload,
        )

    @cached_property
    def inputs(self) -> list[Batch]:
        """Single scored rows, sampled with the task's distribution of lengths."""
        return [self._batch([place]) for place in self.places]

    def padded(self, batch_size: int) -> Batch:
        """Return a batch of sampled rows, padded to the longest of them."""
        return self._batch(np.resize(self.places, batch_size))

    def _batch(self, places: Iterable[int]) -> Batch:
        rows = self.experiment.task.scored
        return model_inputs(self.experiment.collate([rows[int(place)] for place in places]))

    @cached_property
    def vocabulary(self) -> list[int]:
        """The ids that inputs of the grid are sampled from."""
        return vocabulary(self.experiment.tokenizer)


def _without_graph(model: nn.Module) -> nn.Module:
    if isinstance(model, OnnxModel):
        model.graph = b""
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


def _longest(experiment: Experiment, model: nn.Module) -> int:
    """Return the number of word pieces that `model` can read."""
    config = getattr(model, "config", None)
    name = "max_position_embeddings"
    positions = config.get(name) if isinstance(config, dict) else getattr(config, name, None)
    limits = [experiment.tokenizer.model_max_length, positions]
    return int(min(limit for limit in limits if isinstance(limit, int)))


MAX_EXAMPLES = 1000
"""The most scored examples that are answered again by an exported model."""


def score_lost(model: nn.Module, answers: Predictions, experiment: Experiment) -> float:
    """Return how much higher `answers` score on the headline metric than those of `model` to the same examples.

    The model, which runs on the CPU, answers the first of the scored rows, encoded by its own tokenizer.
    """
    task, rows = experiment.task.task, experiment.task.scored
    answered = rows_of(rows, np.unique(example_numbers(rows))[:MAX_EXAMPLES])
    own = predict(model, answered, experiment.collate, device=_CPU)
    metric = experiment.metric
    return metric.of(select_examples(answers, own.ids), task.labels) - metric.of(own, task.labels)


MIN_PARALLEL = 8
"""The number of artifacts below which starting processes costs more than it gains."""


@dataclass(frozen=True)
class Export:
    """The exports of one artifact."""

    made: dict[BackEnd, tuple[bytes, dict[str, Any]] | str]
    """The arguments of an `OnnxModel` for each back end, or why there is none."""
    lost: float | None
    """The loss in score of the quantized one; None where there is none, or the cell's own answers are missing."""
    seconds: float
    """What making all of them took."""


def export_cells(
    config: RunConfig, task: str, keys: Sequence[str], back_ends: Collection[BackEnd], teacher: str = ""
) -> Iterator[tuple[str, Export]]:
    """Yield each of `keys`, cells of `task`, with its exports; many are exported in parallel, one process per core.

    The key `teacher` stands for the task's teacher where that is not a cell.
    """
    export = partial(_export_cell, config.model_dump_json(), task, tuple(back_ends), teacher)
    if len(keys) < MIN_PARALLEL:
        yield from zip(keys, map(export, keys), strict=True)
        return
    with ProcessPoolExecutor(usable_cores(), multiprocessing.get_context("spawn")) as pool:
        yield from zip(keys, pool.map(export, keys), strict=True)


def export_row(row: TimedRow, back_ends: Collection[BackEnd]) -> dict[BackEnd, OnnxModel | str]:
    """Export the model of `row` as a graph for each of `back_ends` of ONNX Runtime, or say why it does not run there.

    Weights are float32, whatever type the artifact stores; or 8-bit integers with one scale per output of a layer,
    including embedding tables. An artifact that is already a graph runs only in its own back end, and has no entry
    for it.
    """
    model = row.load()
    if isinstance(model, OnnxModel):
        own = back_end_of(model)
        reason = f"the artifact is a graph for {own}; it is not converted to another"
        return {back_end: reason for back_end in back_ends if back_end is not own}
    try:
        graph = OnnxModel.of(model, example_inputs(row.experiment.task.scored, row.experiment.collate))
    except KdbenchError as error:
        return dict.fromkeys(back_ends, str(error))
    made: dict[BackEnd, OnnxModel | str] = {}
    if BackEnd.ONNXRUNTIME_INT8 in back_ends:
        made[BackEnd.ONNXRUNTIME_INT8] = OnnxModel(quantize(graph.graph), graph.config)
    if BackEnd.ONNXRUNTIME in back_ends:
        made[BackEnd.ONNXRUNTIME] = graph
    return made


def _export_cell(config: str, task: str, back_ends: tuple[BackEnd, ...], teacher: str, key: str) -> Export:
    experiment = _experiment(config, task)
    places = drawn_rows(experiment)
    is_cell = key != teacher
    row = TimedRow.of_cell(experiment, key, places) if is_cell else TimedRow.of_teacher(experiment, places)
    clock = Clock()
    made = export_row(row, back_ends)
    seconds = clock.read().wall
    quantized = made.get(BackEnd.ONNXRUNTIME_INT8)
    return Export(
        {
            name: model if isinstance(model, str) else (model.graph, model.config)
            for name, model in made.items()
        },
        _score_lost(key, quantized, row) if is_cell and isinstance(quantized, OnnxModel) else None,
        seconds,
    )


@cache
def _experiment(config: str, task: str) -> Experiment:
    return open_experiment(RunConfig.model_validate_json(config), task).experiment


def _score_lost(key: str, quantized: OnnxModel, row: TimedRow) -> float | None:
    try:
        answers = Predictions.load(CellFiles(row.experiment.results, key).predictions)
    except KdbenchError:
        return None
    return score_lost(quantized, answers, row.experiment)
