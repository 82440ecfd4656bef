"""The tables of a board, computed from a results folder in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kdbench.board.across import across_tasks
from kdbench.board.cells import with_behaviour
from kdbench.board.loaded import Loaded
from kdbench.board.points import latency_points
from kdbench.board.second_process import SecondProcess
from kdbench.board.statistics import Known, TaskStatistics, all_statistics
from kdbench.board.table import aggregate


@dataclass(frozen=True, eq=False)
class Tables:
    """All that a board's outputs are drawn from."""

    rows: pd.DataFrame
    """One row a strategy and task."""
    cells: pd.DataFrame
    """One row a strategy, task and seed."""
    points: pd.DataFrame
    """One row a cell, back end, batch size and length that was timed."""
    across: pd.DataFrame
    """One row a strategy: what it is worth over all tasks."""
    statistics: Mapping[str, TaskStatistics]
    """What the predictions of each task show."""


def board_tables(
    loaded: Loaded, results: Path, known: Known | None = None, second: SecondProcess | None = None
) -> Tables:
    """Return the tables of a board.

    Args:
        loaded: the cells of the board.
        results: the folder with the predictions.
        known: what was computed before; gets what is computed now.
        second: takes a part of the work where cells are many.
    """
    known = Known() if known is None else known
    statistics = all_statistics(loaded.cells, results, known, second)
    behaviour = {key: one for found in statistics.values() for key, one in found.behaviour.items()}
    cells = with_behaviour(loaded.cells, behaviour)
    rows = aggregate(cells, statistics)
    return Tables(
        rows=rows,
        cells=cells,
        points=latency_points(cells, loaded.timings),
        across=across_tasks(rows, cells),
        statistics=statistics,
    )
