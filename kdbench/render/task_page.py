"""The page of one task."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby

import pandas as pd

from kdbench.board.cells import POINT_COLUMNS
from kdbench.board.frames import Row, rows_of
from kdbench.board.rows import PUBLISHED, has_score
from kdbench.board.statistics import TaskStatistics
from kdbench.budgets import BackEnd
from kdbench.render.columns import (
    Column,
    behaviour_columns,
    best_rows,
    cost_columns,
    leading_columns,
    quality_columns,
    size_columns,
    speed_columns,
)
from kdbench.render.markdown import cut, images, page, progress, remarks, section, table
from kdbench.render.notes import task_notes
from kdbench.utils import formatting
from kdbench.utils.formatting import MISSING, escape_markdown, milliseconds

_GRID_NOTE = (
    "p50 in ms of a call in PyTorch's eager mode with batch x length word pieces, all attended to. What would have taken"
    f" longer than the budget allows is {MISSING}. The percentiles, throughput and other back ends stand in"
    " [latency.csv](latency.csv)."
)


def grid_section(rows: pd.DataFrame, points: pd.DataFrame) -> str:
    """Return the table of p50 by batch size and length, or nothing where none was timed.

    Args:
        rows: those of one task that have a score, as the page orders them; rows without a p50 are left out.
        points: the task's part of the table of latencies.
    """
    timed = rows[rows["p50_ms"].notna()]
    # The first setting of a row is the one that its p50 comes from.
    setting = points["strategy"].map(points.drop_duplicates("strategy").set_index("strategy")["setting"])
    points = points[points["setting"] == setting]
    eager = points[(points["back_end"] == BackEnd.TORCH.value) & points["length"].notna()]
    eager = eager[eager["strategy"].isin(timed["strategy"])].drop_duplicates(
        ["strategy", "batch_size", "length"]
    )
    measured = {(row["strategy"], row["batch_size"], row["length"]): row["p50_ms"] for row in rows_of(eager)}
    sizes = sorted({place[1:] for place, p50_ms in measured.items() if p50_ms is not None})
    if not sizes:
        return ""
    leading = leading_columns()
    lines = [
        [column.cell(row) for column in leading]
        + [milliseconds(measured.get((row["strategy"], *size))) for size in sizes]
        for row in rows_of(timed)
    ]
    best = set()
    for j, size in enumerate(sizes):
        column = [measured.get((name, *size)) for name in timed["strategy"]]
        least = min(value for value in column if value is not None)
        best |= {(i, len(leading) + j) for i, value in enumerate(column) if value == least}
    headings = [
        *((column.heading, column.is_text) for column in leading),
        *((f"{batch} x {length}", False) for batch, length in sizes),
    ]
    return page(
        "## Latency by batch and length", table(headings, lines, best if len(lines) > 1 else ()), _GRID_NOTE
    ).rstrip()


_OTHER_SETTINGS_NOTE = (
    "Rows stand in the order of their scores. Latencies of different settings say nothing of each other; each speed-up"
    " is over the teacher in the same rounds."
)


def elsewhere_section(rows: pd.DataFrame, points: pd.DataFrame) -> str:
    """Return a table for each further setting in which rows were timed, or nothing where there is none.

    Args:
        rows: those of one task that have a score, as the page orders them; of one without a p50 a remark tells.
        points: the task's part of the table of latencies.
    """
    timed = {row["strategy"]: row for row in rows_of(rows) if row["p50_ms"] is not None}
    # The first point of a model is its main one, and the first setting of a row the one that is shown above.
    main = points.drop_duplicates(["strategy", "setting"])
    further = main[main.duplicated("strategy")]
    columns = [column for column in leading_columns() if column.heading == "strategy"]
    columns += [column for column in speed_columns() if column.measure in POINT_COLUMNS]
    parts = []
    for setting, of_setting in further.groupby("setting"):
        measured = {one["strategy"]: one for one in rows_of(of_setting)}
        lines = [{**row, **measured[name]} for name, row in timed.items() if name in measured]
        if lines:
            cells = [[column.cell(line) for column in columns] for line in lines]
            parts += [f"{escape_markdown(str(setting))}:", table(_headings(columns), cells)]
    return page("## Speed in other settings", *parts, _OTHER_SETTINGS_NOTE).rstrip() if parts else ""


def _headings(columns: list[Column]) -> list[tuple[str, bool]]:
    return [(column.heading, column.is_text) for column in columns]


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
