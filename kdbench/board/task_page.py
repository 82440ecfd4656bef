"""The page of one task."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby

import pandas as pd

from kdbench.board import formatting
from kdbench.board.columns import Column, best_rows, leading_columns, quality_columns
from kdbench.board.elsewhere import elsewhere_section
from kdbench.board.formatting import MISSING, escape_markdown
from kdbench.board.frames import Row, rows_of
from kdbench.board.grid import grid_section
from kdbench.board.markdown import cut, images, page, progress, remarks, section, table
from kdbench.board.measure_columns import (
    behaviour_columns,
    cost_columns,
    size_columns,
    speed_columns,
)
from kdbench.board.notes import task_notes
from kdbench.board.rows import PUBLISHED, has_score
from kdbench.board.statistics import TaskStatistics


def task_page(
    rows: pd.DataFrame,
    cells: pd.DataFrame,
    points: pd.DataFrame,
    statistics: TaskStatistics,
    pending: int = 0,
    published: str = "",
    drawn: Collection[str] = (),
) -> str:
    """Return the page of one task: its tables, why rows have no score, warnings, and footnotes.

    Args:
        rows: the task's part of the table of rows.
        cells: the task's part of the table of cells.
        points: the task's part of the table of latencies.
        statistics: what the task's predictions show.
        pending: how many of the task's cells have not ended yet.
        published: the section of published results, where it is asked for.
        drawn: the paths of pictures in the board's folder.
    """
    task, title = cells["task"].iloc[0], cells["task_title"].iloc[0]
    scored = rows[[has_score(row) for row in rows_of(rows)]]
    return page(
        f"# {escape_markdown(task)}: {escape_markdown(title)}",
        f"Budget {escape_markdown(cells['budget'].iloc[0])}. [All tasks](README.md), [this task as CSV]({task}.csv),"
        " [every seed](cells.csv). Every table has the rows in the same order; the best of a column stands out.",
        progress(len(cells), pending),
        _section("Quality", rows, leading_columns(), quality_columns(rows, cells["metric"].iloc[0])),
        section("Without a score", _reasons(rows)),
        _pictures(task, cells["metric"].iloc[0], drawn),
        section("Warnings", remarks(rows, "warnings")),
        _section("Fidelity, calibration and typing errors", scored, _first(), behaviour_columns()),
        _section("Size and compute", scored, _first(), size_columns()),
        _section("Speed", scored, _first(), speed_columns()),
        grid_section(scored, points),
        section("Timed in another setting", remarks(rows, "latency_note")),
        elsewhere_section(scored, points),
        _section("Cost to obtain", scored, _first(), cost_columns()),
        _section("From plugins", rows, _first(), _plugin_columns(rows)),
        published,
        section("Notes", [*_gap_reasons(rows), *task_notes(cells, statistics)]),
    )


def _pictures(task: str, metric: str, drawn: Collection[str]) -> str:
    shown = images(
        drawn,
        [
            (f"scores-{task}", f"{metric} by strategy: means with 95% intervals, and every seed"),
            (f"pareto-{task}", f"{metric} against latency, parameters and training, with the Pareto line"),
            (f"latency-{task}", "latency by length, for each size of batch"),
            (f"gap-{task}", "the part of the teacher's lead over the control that a row recovers"),
        ],
    )
    return f"## Pictures\n\n{shown}" if shown else ""


def _first() -> list[Column]:
    """Return the leading columns of a table that is not the page's first: their notes stand there."""
    return [Column(column.heading, column.cell, is_text=column.is_text) for column in leading_columns()]


def _section(heading: str, rows: pd.DataFrame, leading: list[Column], columns: list[Column]) -> str:
    """Return a table with a note on each column below; without those columns that no row has anything in."""
    lines = rows_of(rows)
    shown = [column for column in columns if any(column.cell(row) not in ("", MISSING) for row in lines)]
    if not shown:
        return ""
    shown = [*leading, *shown]
    notes = "\n".join(f"- *{escape_markdown(one.heading)}*: {one.note}" for one in shown if one.note)
    return page(f"## {heading}", _table(lines, shown), notes).rstrip()


def _table(lines: list[Row], columns: Sequence[Column]) -> str:
    return table(
        [(escape_markdown(column.heading), column.is_text) for column in columns],
        [[column.cell(row) for column in columns] for row in lines],
        {(place, j) for j, column in enumerate(columns) for place in best_rows(column, lines)},
    )


def _reasons(rows: pd.DataFrame) -> list[str]:
    return [
        f"**{escape_markdown(row['strategy'])}** {row['status']}: {cut(row['reason'])}"
        for row in rows_of(rows)
        if not has_score(row)
    ]


def _gap_reasons(rows: pd.DataFrame) -> list[str]:
    """Tell why rows have no interval of the gap recovered, those of one control together."""
    without = sorted(
        (str(row["gap_reason"]), str(row["control"]), str(row["strategy"]))
        for row in rows_of(rows)
        if row["gap_reason"] is not None
    )
    return [
        f"**Gap recovered.** None of {escape_markdown(', '.join(name for *_, name in group))}:"
        f" {reason} {escape_markdown(control)}."
        for (reason, control), group in groupby(without, key=lambda line: line[:2])
    ]


def _plugin_columns(rows: pd.DataFrame) -> list[Column]:
    def column(name: str) -> Column:
        return Column(name, lambda row: formatting.plain(row[name]))

    return [column(name) for name in rows.columns if name not in PUBLISHED and rows[name].notna().any()]
