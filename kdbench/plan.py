"""What a run would do: every cell with its key and its state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from kdbench.config import RunConfig
from kdbench.data import Download, missing_downloads
from kdbench.errors import UsageError
from kdbench.matrix import Cell, cell_key, cells_of
from kdbench.models.base import BaseModel, missing_model_downloads, resolve_base_model
from kdbench.opening import make_experiment
from kdbench.registry import Registry
from kdbench.results.records import RecordStore, Status
from kdbench.training.experiment import Experiment


class State(str, Enum):
    """What a run would do with a cell."""

    DONE = "done"
    FAILED = "failed before"
    NOT_APPLICABLE = "not applicable"
    PENDING = "pending"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class PlannedCell:
    """A cell and what a run would do with it."""

    cell: Cell
    state: State
    reason: str | None = None
    """Why it does not apply, or failed before."""
    key: str | None = None
    """None where data or base model are not on this machine yet."""
    keys_before: tuple[str, ...] = ()
    """Of a stack the keys of its earlier stages, first to last."""


@dataclass(frozen=True)
class Plan:
    """Every cell of a run, what it needs, and what must be fetched."""

    cells: list[PlannedCell]
    downloads: list[Download]
    base: BaseModel | None = None
    experiments: dict[str, Experiment] | None = None
    """By task; None where something must be fetched first."""

    def count(self, state: State) -> int:
        """Return the number of cells in `state`."""
        return sum(planned.state is state for planned in self.cells)


def make_plan(config: RunConfig, registry: Registry, *, fetch: bool) -> Plan:
    """Return what a run with `config` would do.

    Args:
        fetch: whether what is missing is fetched; otherwise a cell whose data is missing counts as pending.

    Raises:
        UsageError: the settings name something that is not there.
    """
    cells = cells_of(config, registry)
    tasks = {cell.task.name: cell.task for cell in cells}
    if config.teacher is not None and len(tasks) > 1:
        raise UsageError(f"--teacher serves one task, but {len(tasks)} are to run; name its task with --task")
    downloads = missing_model_downloads(config.model, config.cache_dir)
    for task in tasks.values():
        downloads += missing_downloads(task, config.data)
    if downloads and not fetch:
        return Plan([_planned(cell, None, None, config) for cell in cells], downloads)
    base = resolve_base_model(config.model, config.cache_dir)
    experiments = {name: make_experiment(config, task, base) for name, task in tasks.items()}
    store = RecordStore(config.results)
    planned: dict[str, PlannedCell] = {}
    for cell in cells:
        partners = [experiments[task.name] for task in cell.partners]
        key = cell_key(cell.row.strategy, experiments[cell.task.name], cell.seed, partners)
        # `lora` and `lora[learning_rate=…]` with the rate that is the default are one cell.
        earlier = cell.row.strategy.stages[:-1]
        keys_before = tuple(cell_key(stage, experiments[cell.task.name], cell.seed) for stage in earlier)
        planned.setdefault(key, replace(_planned(cell, key, store, config), keys_before=keys_before))
    return Plan(list(planned.values()), downloads, base, experiments)


def _planned(cell: Cell, key: str | None, store: RecordStore | None, config: RunConfig) -> PlannedCell:
    if cell.not_applicable is not None:
        return PlannedCell(cell, State.NOT_APPLICABLE, cell.not_applicable, key)
    record = store.get(key) if store is not None and key is not None else None
    if record is None or config.overwrite == "all":
        return PlannedCell(cell, State.PENDING, key=key)
    if record.status is Status.OK:
        return PlannedCell(cell, State.DONE, key=key)
    if config.overwrite == "failed":
        return PlannedCell(cell, State.PENDING, key=key)
    return PlannedCell(cell, State.FAILED, record.reason, key)
