"""Export the artifacts of a task to the back ends in which they are timed, or say why they do not run there."""

from __future__ import annotations

import multiprocessing
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import nn

from kdbench.api.bench import Batch
from kdbench.api.predictions import Predictions
from kdbench.budgets import BackEnd
from kdbench.config import RunConfig
from kdbench.data.encoding import example_numbers, rows_of
from kdbench.errors import KdbenchError
from kdbench.evaluation.diagnostics import select_examples
from kdbench.measure.back_ends import absence
from kdbench.measure.timed_models import TimedRow, back_end_of, drawn_rows
from kdbench.models.compiled import check_compiled
from kdbench.models.onnx import OnnxModel, check_logits, example_inputs, quantize
from kdbench.models.openvino_graph import OpenVinoModel
from kdbench.results.paths import CellFiles
from kdbench.training.experiment import Experiment, open_experiment
from kdbench.training.predict import predict
from kdbench.utils.system import Clock, usable_cores

_CPU = torch.device("cpu")
MIN_PARALLEL = 8
"""The number of artifacts below which starting processes costs more than it gains."""


@dataclass(frozen=True)
class Export:
    """The exports of one artifact."""

    made: dict[BackEnd, tuple[bytes, dict[str, Any]] | str | None]
    """The graph and the configuration for each back end; None where each process compiles the model itself; or why it
    does not run there."""
    lost: float | None
    """The loss in score of the quantized one; None where there is none, or the cell's own answers are missing."""
    seconds: dict[BackEnd, float]
    """What the export to each took, from the artifact on."""


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


Exported = OnnxModel | OpenVinoModel | str | None
"""An artifact in a back end: a graph, None where each process compiles the model itself, or why it does not run there."""


def export_row(row: TimedRow, back_ends: Collection[BackEnd]) -> dict[BackEnd, tuple[Exported, float]]:
    """Export the model of `row` to each of `back_ends`; also return the seconds that each took.

    Weights are float32, whatever type the artifact stores; or 8-bit integers with one scale per output of a layer,
    including embedding tables. An artifact that is already a graph runs only in its own back end, and has no entry
    for it.
    """
    model = row.load()
    own = back_end_of(model) if isinstance(model, OnnxModel) else None
    exporter = _Exporter(row, model)
    found: dict[BackEnd, tuple[Exported, float]] = {}
    for back_end in BackEnd:
        if back_end not in back_ends or back_end is own:
            continue
        reason = absence(back_end)
        if reason is None and own is not None:
            reason = f"the artifact is a graph for {own}; it is not converted to another"
        found[back_end] = exporter.to(back_end) if reason is None else (reason, 0.0)
    return found


class _Exporter:
    """Exports a PyTorch artifact; the graph that several back ends start from is made once."""

    def __init__(self, row: TimedRow, model: nn.Module) -> None:
        self._row = row
        self._model = model

    def to(self, back_end: BackEnd) -> tuple[Exported, float]:
        """Return the artifact in `back_end`, or why it does not run there, and the seconds from the artifact on."""
        if back_end is BackEnd.TORCH_COMPILE:
            return self._compiled()
        graph, seconds = self._graph
        if isinstance(graph, str):
            return graph, seconds
        clock = Clock()
        try:
            made: Exported = self._converted(graph, back_end)
        except KdbenchError as error:
            made = str(error)
        return made, seconds + clock.read().wall

    @cached_property
    def _example(self) -> Batch:
        return example_inputs(self._row.experiment.task.scored, self._row.experiment.collate)

    @cached_property
    def _graph(self) -> tuple[OnnxModel | str, float]:
        clock = Clock()
        try:
            graph: OnnxModel | str = OnnxModel.of(self._model, self._example)
        except KdbenchError as error:
            graph = str(error)
        return graph, clock.read().wall

    def _converted(self, graph: OnnxModel, back_end: BackEnd) -> OnnxModel | OpenVinoModel:
        if back_end is BackEnd.ONNXRUNTIME_INT8:
            return OnnxModel(quantize(graph.graph), graph.config)
        if back_end is BackEnd.ONNXRUNTIME:
            return graph
        converted = OpenVinoModel(graph.graph, graph.config)
        with torch.no_grad():
            expected = self._model(**self._example).logits
        name = type(self._model).__name__
        check_logits(
            converted(**self._example).logits, expected, self._example, f"OpenVINO's graph of {name}"
        )
        return converted

    def _compiled(self) -> tuple[str | None, float]:
        device = self._row.experiment.device
        model = self._row.load().float().to(device).eval()
        example = {name: value.to(device) for name, value in self._example.items()}
        clock = Clock()
        try:
            check_compiled(model, example)
        except KdbenchError as error:
            return str(error), clock.read().wall
        return None, clock.read().wall


def _export_cell(config: str, task: str, back_ends: tuple[BackEnd, ...], teacher: str, key: str) -> Export:
    experiment = _experiment(config, task)
    places = drawn_rows(experiment)
    is_cell = key != teacher
    row = TimedRow.of_cell(experiment, key, places) if is_cell else TimedRow.of_teacher(experiment, places)
    exported = export_row(row, back_ends)
    made = {back_end: model for back_end, (model, _) in exported.items()}
    quantized = made.get(BackEnd.ONNXRUNTIME_INT8)
    return Export(
        {
            name: (model.graph, model.config) if isinstance(model, nn.Module) else model
            for name, model in made.items()
        },
        _score_lost(key, quantized, row) if is_cell and isinstance(quantized, OnnxModel) else None,
        {back_end: seconds for back_end, (_, seconds) in exported.items()},
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


MAX_EXAMPLES = 1000
"""The most scored examples that are answered again by an exported model."""


def score_lost(model: nn.Module, answers: Predictions, experiment: Experiment) -> float:
    """Return how much higher `answers` score on the headline metric than those of `model` to the same examples.

    The model, which runs on the CPU, answers the first of the scored rows, encoded by its own tokenizer, by the thresholds
    of `answers` where there are any.
    """
    task, rows = experiment.task.task, experiment.task.scored
    answered = rows_of(rows, np.unique(example_numbers(rows))[:MAX_EXAMPLES])
    thresholds = None if answers.thresholds is None else answers.thresholds.tolist()
    own = predict(model, answered, experiment.collate, device=_CPU, thresholds=thresholds)
    metric = experiment.metric
    return metric.of(select_examples(answers, own.ids), task.labels) - metric.of(own, task.labels)
