"""Declare the plugin hooks of kdbench; a plugin implements any of them with `kdbench.hookimpl`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import pandas as pd

    from kdbench.api.kinds import TaskKind
    from kdbench.api.metric import Metric
    from kdbench.api.strategy import Strategy
    from kdbench.api.task import Task
    from kdbench.results.records import Record

PROJECT = "kdbench"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def kdbench_strategies() -> Iterable[type[Strategy]]:
    """Return the strategies that this plugin provides, as classes; an instance stands for its class."""
    return ()


@hookspec
def kdbench_tasks() -> Iterable[Task]:
    """Return the tasks that this plugin provides, as instances or as classes that need no argument."""
    return ()


@hookspec
def kdbench_model_classes() -> Mapping[str, str]:
    """Return the model classes that the strategies build: ``module:Class`` by the key that saved models store."""
    return {}


@hookspec
def kdbench_kinds() -> Iterable[TaskKind]:
    """Return the kinds of task that this plugin provides, as instances or as classes."""
    return ()


@hookspec
def kdbench_metrics() -> Iterable[Metric]:
    """Return the metrics that this plugin provides, as instances or as classes that need no argument."""
    return ()


@hookspec
def kdbench_cell_finished(record: Record) -> None:
    """Observe the record of a cell that has just ended, whatever its status."""


@hookspec
def kdbench_board_columns(table: pd.DataFrame) -> pd.DataFrame | None:
    """Return additional columns for the board, one row per row of `table` (same index), or None."""
