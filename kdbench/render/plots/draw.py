"""Plan and draw the plots of a board."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pandas as pd

from kdbench.board.cells import shown_timings
from kdbench.board.curves import curve_points
from kdbench.board.frames import rows_of
from kdbench.board.labels import LabelTables
from kdbench.board.load import Loaded
from kdbench.board.tables import task_ranks
from kdbench.render.plots.curves import curve_lines, curves_picture
from kdbench.render.plots.files import Specification, as_files
from kdbench.render.plots.labels import label_lines, labels_picture
from kdbench.render.plots.latency import latency_picture
from kdbench.render.plots.pareto import pareto_picture
from kdbench.render.plots.rank_intervals import rank_intervals_picture
from kdbench.render.plots.rows import drawn_rows
from kdbench.render.plots.scores import gap_picture, ranks_picture, scores_picture
from kdbench.utils.system import gc_paused

FOLDER = "pictures"


@dataclass(frozen=True, eq=False)
class Picture:
    """A plot to draw in any process: its name, and a function that returns its specification, or None if it is empty."""

    name: str
    specify: Callable[..., Specification | None]
    arguments: tuple[Any, ...]


def planned(rows: pd.DataFrame, loaded: Loaded) -> list[Picture]:
    """Return the plots of a board.

    Each task has ``scores-<task>``, ``rank-intervals-<task>``, ``pareto-<task>``, ``latency-<task>``, ``gap-<task>`` and
    ``curves-<task>``, all tasks together ``ranks``; plots without measured values are not drawn.
    """
    shown = shown_timings(loaded.timings, set(loaded.cells["key"]))
    cells = {cell["task"]: cell for cell in rows_of(loaded.cells.drop_duplicates("task"))}
    drawn = drawn_rows(rows, loaded)
    pictures = []
    for task, group in groupby(drawn, key=lambda row: str(row.row["task"])):
        own, cell = list(group), cells[task]
        timings = {row.key: shown[row.key][1] for row in own if row.key in shown}
        timed_alike = [row for row in own if row.row["latency_note"] is None]
        pictures += [
            Picture(f"scores-{task}", scores_picture, (task, cell["metric"], cell["majority_score"], own)),
            Picture(f"rank-intervals-{task}", rank_intervals_picture, (task, own)),
            Picture(f"pareto-{task}", pareto_picture, (task, cell["metric"], own)),
            Picture(f"latency-{task}", latency_picture, (task, timed_alike, timings)),
            Picture(f"gap-{task}", gap_picture, (task, own)),
            _curves(task, cell["metric"], loaded),
        ]
    return [*pictures, Picture("ranks", ranks_picture, (drawn, task_ranks(rows, loaded.cells)))]


def _curves(task: str, metric: str, loaded: Loaded) -> Picture:
    records = [record for record in loaded.records if record.task.name == task]
    families = {record.strategy.label: record.strategy.family for record in records}
    of_teacher = [record for record in records if record.is_teacher]
    flops = next((record.cost.train_flops for record in of_teacher if record.cost), None)
    teachers = frozenset(record.strategy.label for record in of_teacher)
    lines = curve_lines(curve_points(records), families, teachers)
    return Picture(f"curves-{task}", curves_picture, (task, metric, lines, flops))


def planned_labels(tables: LabelTables) -> list[Picture]:
    """Return the plots of the label counts: ``labels-<task>`` of each task with a row that has a score at two counts."""
    return [
        Picture(f"labels-{task}", labels_picture, (task, metric, lines))
        for task, (metric, lines) in label_lines(tables).items()
    ]


def draw(picture: Picture) -> dict[str, bytes]:
    """Return the files of `picture` by their paths in the board's folder: SVG for print, PNG for code hosts."""
    with gc_paused():
        drawn = picture.specify(*picture.arguments)
        return {} if drawn is None else as_files(f"{FOLDER}/{picture.name}", drawn)
