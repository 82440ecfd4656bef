"""Artifacts of PyTorch as graphs of ONNX Runtime."""

from __future__ import annotations

import multiprocessing
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from kdbench.budgets import BackEnd
from kdbench.config import RunConfig
from kdbench.errors import KdbenchError
from kdbench.evaluation.predictions import Predictions
from kdbench.measure.lost import score_lost
from kdbench.measure.rows import TimedRow, back_end_of
from kdbench.onnx_model import OnnxModel, example_inputs
from kdbench.opening import open_experiment
from kdbench.quantization import quantize
from kdbench.results import CellFiles
from kdbench.training.experiment import Experiment
from kdbench.workers import usable_cores

_MANY = 8
"""Artifacts; for fewer, processes cost more than they gain."""


@dataclass(frozen=True)
class Export:
    """What became of one artifact."""

    made: dict[BackEnd, tuple[bytes, dict[str, Any]] | str]
    """What an `OnnxModel` is made of for each back end, or why there is none."""
    lost: float | None
    """What the quantized one loses in score; None where there is none, or the cell's own answers are gone."""


def export_cells(
    config: RunConfig, task: str, keys: Sequence[str], back_ends: Collection[BackEnd]
) -> Iterator[tuple[str, Export]]:
    """Yield each of `keys`, cells of `task`, with what became of its artifact; many are exported a core at a time."""
    export = partial(_export_cell, config.model_dump_json(), task, tuple(back_ends))
    if len(keys) < _MANY:
        yield from zip(keys, map(export, keys), strict=True)
        return
    with ProcessPoolExecutor(usable_cores(), multiprocessing.get_context("spawn")) as pool:
        yield from zip(keys, pool.map(export, keys), strict=True)


def export_row(row: TimedRow, back_ends: Collection[BackEnd]) -> dict[BackEnd, OnnxModel | str]:
    """Return the model of `row` as a graph for each of `back_ends` of ONNX Runtime, or why it does not run there.

    Weights in float32, whatever type the artifact keeps them in; in 8-bit integers with a scale for each output of a
    layer, embedding tables too. An artifact that is a graph already runs in its own back end alone, and has no entry
    there.
    """
    model = row.load()
    if isinstance(model, OnnxModel):
        own = back_end_of(model)
        reason = f"the artifact is a graph that {own} runs; it is not made into another"
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


def _export_cell(config: str, task: str, back_ends: tuple[BackEnd, ...], key: str) -> Export:
    row = TimedRow.of_cell(_experiment(config, task), key)
    made = export_row(row, back_ends)
    quantized = made.get(BackEnd.ONNXRUNTIME_INT8)
    return Export(
        {name: one if isinstance(one, str) else (one.graph, one.config) for name, one in made.items()},
        _score_lost(key, quantized, row) if isinstance(quantized, OnnxModel) else None,
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
