"""Export the artifacts of a task to the back ends in which they are timed, or say why they do not run there."""

from __future__ import annotations

import multiprocessing
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
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

    made: dict[BackEnd, tuple[bytes, dict[str, Any]] | str]
    """The graph and the configuration for each back end, or why there is none."""
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


Exported = OnnxModel | OpenVinoModel | str
"""An artifact in a back end, or why it does not run there."""


def export_row(row: TimedRow, back_ends: Collection[BackEnd]) -> dict[BackEnd, tuple[Exported, float]]:
    """Export the model of `row` to each of `back_ends` that runs graphs; also return the seconds that each took.

    Weights are float32, whatever type the artifact stores; or 8-bit integers with one scale per output of a layer,
    including embedding tables. An artifact that is already a graph runs only in its own back end, and has no entry
    for it.
    """
    absent = {back_end: reason for back_end in back_ends if (reason := absence(back_end))}
    found: dict[BackEnd, tuple[Exported, float]] = {name: (reason, 0.0) for name, reason in absent.items()}
    wanted = [back_end for back_end in BackEnd if back_end in back_ends and back_end not in absent]
    model = row.load()
    if isinstance(model, OnnxModel):
        own = back_end_of(model)
        reason = f"the artifact is a graph for {own}; it is not converted to another"
        found |= dict.fromkeys(wanted, (reason, 0.0))
        return {back_end: one for back_end, one in found.items() if back_end is not own}
    clock = Clock()
    example = example_inputs(row.experiment.task.scored, row.experiment.collate)
    try:
        graph = OnnxModel.of(model, example)
    except KdbenchError as error:
        return found | dict.fromkeys(wanted, (str(error), clock.read().wall))
    graph_s = clock.read().wall
    for back_end in wanted:
        clock = Clock()
        try:
            made: Exported = _converted(graph, back_end, model, example)
        except KdbenchError as error:
            made = str(error)
        found[back_end] = made, graph_s + clock.read().wall
    return found


def _converted(
    graph: OnnxModel, back_end: BackEnd, model: nn.Module, example: Batch
) -> OnnxModel | OpenVinoModel:
    """Return `graph`, that of `model`, as it runs in `back_end`.

    Raises:
        KdbenchError: OpenVINO cannot run it, or answers differently.
    """
    if back_end is BackEnd.ONNXRUNTIME_INT8:
        return OnnxModel(quantize(graph.graph), graph.config)
    if back_end is BackEnd.ONNXRUNTIME:
        return graph
    converted = OpenVinoModel(graph.graph, graph.config)
    with torch.no_grad():
        expected = model(**example).logits
    check_logits(converted(**example).logits, expected, f"OpenVINO's graph of {type(model).__name__}")
    return converted


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
            name: model if isinstance(model, str) else (model.graph, model.config)
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

    The model, which runs on the CPU, answers the first of the scored rows, encoded by its own tokenizer.
    """
    task, rows = experiment.task.task, experiment.task.scored
    answered = rows_of(rows, np.unique(example_numbers(rows))[:MAX_EXAMPLES])
    own = predict(model, answered, experiment.collate, device=_CPU)
    metric = experiment.metric
    return metric.of(select_examples(answers, own.ids), task.labels) - metric.of(own, task.labels)
