"""Every picture of a board."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure

from kdbench.board.across import complete_scores
from kdbench.board.frames import rows_of
from kdbench.board.loaded import Loaded
from kdbench.board.pictures.drawn_rows import DrawnRow, drawn_rows
from kdbench.board.pictures.files import as_files, style
from kdbench.board.pictures.gap import gap_figure
from kdbench.board.pictures.latency import latency_figure
from kdbench.board.pictures.pareto import pareto_figure
from kdbench.board.pictures.ranks import ranks_figure
from kdbench.board.pictures.scores import scores_figure
from kdbench.board.timed import shown_timings

FOLDER = "pictures"


def pictures(rows: pd.DataFrame, loaded: Loaded) -> dict[str, bytes]:
    """Return the files of all pictures by their paths in the board's folder: SVG for print, PNG for a code host.

    A task has ``scores-<task>``, ``pareto-<task>``, ``latency-<task>`` and ``gap-<task>``, all tasks together ``ranks``;
    one whose numbers were not measured is not drawn.

    Args:
        rows: the table of rows.
        loaded: the cells that it aggregates, their records and timings.
    """
    files: dict[str, bytes] = {}
    with style():
        for name, figure in _figures(rows, loaded):
            if figure is not None:
                files |= as_files(f"{FOLDER}/{name}", figure)
    return files


def _figures(rows: pd.DataFrame, loaded: Loaded) -> Iterator[tuple[str, Figure | None]]:
    shown = shown_timings(loaded.timings, set(loaded.cells["key"]))
    timings = {key: model for key, (_, model) in shown.items()}
    for task, cells in loaded.cells.groupby("task"):
        cell = rows_of(cells)[0]
        drawn = drawn_rows(rows[rows["task"] == task], loaded)
        if drawn:
            yield f"scores-{task}", scores_figure(str(task), cell["metric"], cell["majority_score"], drawn)
            yield f"pareto-{task}", pareto_figure(str(task), cell["metric"], drawn)
            yield f"latency-{task}", latency_figure(str(task), _timed_alike(drawn), timings)
            yield f"gap-{task}", gap_figure(str(task), drawn)
    yield "ranks", ranks_figure(drawn_rows(rows, loaded), complete_scores(rows, loaded.cells))


def _timed_alike(drawn: list[DrawnRow]) -> list[DrawnRow]:
    """Return the rows without those that were timed in another setting than the task's others."""
    return [row for row in drawn if row.row["latency_note"] is None]
