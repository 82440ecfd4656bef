"""The tables of a board, from records in memory or from a results folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kdbench.board.cells import latency_points, shown_timings, tidy
from kdbench.board.load import Loaded, load_cells
from kdbench.board.rows import aggregate
from kdbench.board.serving import loads_of
from kdbench.board.statistics import Known, TaskStatistics
from kdbench.board.tables import Tables, across_tasks, board_tables
from kdbench.results.records import Record
from kdbench.results.timings import Timing


def tables_without_predictions(records: Sequence[Record], timings: Sequence[Timing] = ()) -> Tables:
    """Return the tables of `records`; nothing that needs predictions is in them."""
    cells = tidy(records, timings)
    rows = aggregate(cells)
    return Tables(
        rows=rows,
        cells=cells,
        points=latency_points(cells, timings),
        loads=loads_of(cells, shown_timings(timings, set(cells["key"]))),
        across=across_tasks(rows, cells),
        statistics={task: TaskStatistics() for task in set(cells["task"])},
    )


def tables_of(
    records: Sequence[Record], results: Path, timings: Sequence[Timing] = (), known: Known | None = None
) -> Tables:
    """Return the tables of `records`, whose predictions stand in `results`."""
    loaded = Loaded(tidy(records, timings), (), (), tuple(records), tuple(timings))
    return board_tables(loaded, results, known)


def tables_in(results: Path) -> Tables:
    """Return the tables of all that stands in `results`."""
    return board_tables(load_cells(results, budget="quick"), results)
