"""Which cell's model is taken."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from kdbench.api.spec import parse_spec
from kdbench.api.strategy import spec_of
from kdbench.board.frames import Row, rows_of
from kdbench.board.load import Loaded, load_cells
from kdbench.board.recommend import Limit, recommend
from kdbench.board.rows import aggregate, has_score
from kdbench.config import RunConfig
from kdbench.errors import UsageError, nearest
from kdbench.models.base import model_name
from kdbench.registry import Registry
from kdbench.results.paths import CellFiles
from kdbench.results.records import Record, RecordStore
from kdbench.results.timings import ModelTiming, Timing, load_timings


@dataclass(frozen=True)
class Choice:
    """A cell whose model is there, and what was measured around it."""

    record: Record
    files: CellFiles
    seeds: tuple[Record, ...]
    """The records of every seed of its row."""
    timing: tuple[Timing, ModelTiming] | None
    """The newest timing of the cell's artifact."""
    reason: str = ""
    """Why this row, where the user named limits instead."""


def choose(config: RunConfig, registry: Registry, seed: int | None, limits: list[Limit] | None) -> Choice:
    """Return the cell that the settings name by task and strategy, or the one to ship within `limits`.

    Args:
        seed: by default the first whose model was kept.
        limits: see `kdbench.board.recommend.recommend`, whose choice is taken.

    Raises:
        UsageError: no such record, or no model of it is left.
        KdbenchError: no scored row is within the limits; names the nearest miss.
    """
    model = None if config.model is None else model_name(config.model)
    loaded = load_cells(config.results, budget=config.budget, model=model, metrics=registry.metrics)
    task = _task(config, loaded.cells)
    if limits is None:
        row, reason = _named(config, registry, loaded, task), ""
    else:
        row = recommend(loaded, config.results, task, limits).chosen.row
        reason = f"row to ship within {', '.join(map(str, limits))}, as 'kdbench recommend' chooses"
    cells = loaded.cells[(loaded.cells["task"] == task) & (loaded.cells["strategy"] == row["strategy"])]
    seeds = _records(config, cells)
    record = _of_seed(seeds, seed, config)
    return Choice(record, CellFiles(config.results, record.key), seeds, _timing(config, record), reason)


def _task(config: RunConfig, cells: pd.DataFrame) -> str:
    there = sorted(set(cells["task"]))
    named = config.task or list(config.tasks) or there
    if len(named) != 1:
        raise UsageError(f"a model is of one task; name it with --task (there: {', '.join(there)})")
    if named[0] not in there:
        raise UsageError(f"--task {named[0]!r} has no result in {config.results}{nearest(named[0], there)}")
    return named[0]


def _named(config: RunConfig, registry: Registry, loaded: Loaded, task: str) -> Row:
    rows = rows_of(aggregate(loaded.cells[loaded.cells["task"] == task]))
    there = [row["strategy"] for row in rows]
    if len(config.strategy) != 1 or config.strategy == ["*"]:
        raise UsageError(
            f"name one row of {task} with --strategy, or limits with --best-under (there: {', '.join(there)})"
        )
    (asked,) = config.strategy
    # A row may be of a plugin that is not here any more; a spelling other than the board's needs the plugin.
    label = asked if asked in there else str(spec_of(registry.strategy(parse_spec(asked))))
    row = next((row for row in rows if row["strategy"] == label), None)
    if row is None:
        raise UsageError(f"--strategy {label!r} has no result on {task}{nearest(label, there)}")
    if not has_score(row):
        raise UsageError(f"{label} on {task} has no model: {row['status']} ({row['reason']})")
    return row


def _records(config: RunConfig, cells: pd.DataFrame) -> tuple[Record, ...]:
    store = RecordStore(config.results)
    found = [store.get(key) for key in cells["key"]]
    return tuple(record for record in found if record is not None)


def _of_seed(seeds: tuple[Record, ...], seed: int | None, config: RunConfig) -> Record:
    kept = {
        record.seed: record for record in seeds if CellFiles(config.results, record.key).artifact.is_dir()
    }
    label = seeds[0].strategy.label
    if not kept:
        raise UsageError(
            f"no model of {label} is left in {config.results / 'models'}; make it again by 'kdbench run --overwrite all'"
        )
    wanted = min(kept) if seed is None else seed
    if wanted not in kept:
        raise UsageError(
            f"--seed {wanted}: no model of {label} from this seed is left, only of {', '.join(map(str, sorted(kept)))}; "
            "a run keeps the models of its first seed"
        )
    return kept[wanted]


def _timing(config: RunConfig, record: Record) -> tuple[Timing, ModelTiming] | None:
    timings, _ = load_timings(config.results)
    found = [
        (timing, timed)
        for timing in sorted(timings, key=lambda timing: timing.finished_at)
        for timed in timing.models
        if timed.key == record.key and timed.p50_ms is not None
    ]
    return found[-1] if found else None
