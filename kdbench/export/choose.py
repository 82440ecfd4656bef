"""Choose the cell whose model is exported."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from kdbench.api.spec import parse_spec
from kdbench.api.strategy import spec_of
from kdbench.board.frames import Row, rows_of
from kdbench.board.limits import Limit
from kdbench.board.load import Loaded, load_cells
from kdbench.board.recommend import recommend
from kdbench.board.rows import aggregate, has_score
from kdbench.config import RunConfig
from kdbench.errors import UsageError, nearest
from kdbench.models.base import model_name
from kdbench.registry import Registry
from kdbench.results.paths import CellFiles
from kdbench.results.records import Record
from kdbench.results.timings import ModelTiming, Timing, load_timings


@dataclass(frozen=True)
class Choice:
    """A cell whose model exists, with the records of its row and its timing."""

    record: Record
    files: CellFiles
    seeds: tuple[Record, ...]
    """The records of all seeds of its row."""
    timing: tuple[Timing, ModelTiming] | None
    """The newest timing of the cell's artifact."""
    reason: str = ""
    """Why this row was chosen, if the user gave limits instead of a strategy."""


def choose(config: RunConfig, registry: Registry, seed: int | None, limits: list[Limit] | None) -> Choice:
    """Return the cell that the settings name by task and strategy, or the best one within `limits`.

    Args:
        seed: by default the first whose model was kept.
        limits: those of `kdbench.board.recommend.recommend`, whose recommendation is used.

    Raises:
        UsageError: no such record, or its model does not exist any more.
        KdbenchError: no scored row is within the limits; names the nearest row.
    """
    model = None if config.model is None else model_name(config.model)
    loaded = load_cells(config.results, budget=config.budget, model=model, metrics=registry.metrics)
    task = _task(config, loaded.cells)
    if limits is None:
        row, reason = _row_by_name(config, registry, loaded, task), ""
    else:
        row = recommend(loaded, config.results, task, limits).chosen.row
        reason = f"row that 'kdbench recommend' chooses within {', '.join(map(str, limits))}"
    cells = loaded.cells[(loaded.cells["task"] == task) & (loaded.cells["strategy"] == row["strategy"])]
    keys = set(cells["key"])
    seeds = tuple(record for record in loaded.records if record.key in keys)
    record = _of_seed(seeds, seed, config)
    return Choice(record, CellFiles(config.results, record.key), seeds, _timing(config, record), reason)


def _task(config: RunConfig, cells: pd.DataFrame) -> str:
    existing = sorted(set(cells["task"]))
    named = config.task or list(config.tasks) or existing
    if len(named) != 1:
        raise UsageError(f"name the one task of the model with --task (existing: {', '.join(existing)})")
    if named[0] not in existing:
        raise UsageError(
            f"--task {named[0]!r} has no result in {config.results}{nearest(named[0], existing)}"
        )
    return named[0]


def _row_by_name(config: RunConfig, registry: Registry, loaded: Loaded, task: str) -> Row:
    rows = rows_of(aggregate(loaded.cells[loaded.cells["task"] == task]))
    existing = [row["strategy"] for row in rows]
    if len(config.strategy) != 1 or config.strategy == ["*"]:
        raise UsageError(
            f"name one row of {task} with --strategy, or limits with --best-under (existing: {', '.join(existing)})"
        )
    (requested,) = config.strategy
    # The row's plugin may not be installed any more; it is needed only for a spelling that differs from the board's.
    label = requested if requested in existing else str(spec_of(registry.strategy(parse_spec(requested))))
    row = next((row for row in rows if row["strategy"] == label), None)
    if row is None:
        raise UsageError(f"--strategy {label!r} has no result on {task}{nearest(label, existing)}")
    if not has_score(row):
        raise UsageError(f"{label} on {task} has no model: {row['status']} ({row['reason']})")
    return row


def _of_seed(seeds: tuple[Record, ...], seed: int | None, config: RunConfig) -> Record:
    kept = [record for record in seeds if CellFiles(config.results, record.key).artifact.is_dir()]
    available = {record.seed: record for record in kept}
    label = seeds[0].strategy.label
    if not available:
        raise UsageError(
            f"no model of {label} is left in {config.results / 'models'}; train it again with 'kdbench run --overwrite all'"
        )
    chosen = min(available) if seed is None else seed
    if chosen not in available:
        raise UsageError(
            f"--seed {chosen}: no model of {label} with this seed is left, only {', '.join(map(str, sorted(available)))}; "
            "a run keeps the models of its first seed"
        )
    return available[chosen]


def _timing(config: RunConfig, record: Record) -> tuple[Timing, ModelTiming] | None:
    matching = [
        (timing, timed)
        for timing in load_timings(config.results)[0]
        for timed in timing.models
        if timed.key == record.key and timed.main.p50_ms is not None
    ]
    return max(matching, key=lambda timed: timed[0].finished_at, default=None)
