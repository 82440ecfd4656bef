"""The page of one task."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from itertools import groupby

import pandas as pd

from kdbench.board.cells import POINT_COLUMNS
from kdbench.board.columns import ROW_COLUMNS
from kdbench.board.figures import FIGURES, Figure, Group, best_rows, figures_of, plugin_figure
from kdbench.board.frames import Row, rows_of
from kdbench.board.rows import has_score
from kdbench.board.statistics import TaskStatistics
from kdbench.budgets import BackEnd
from kdbench.render.markdown import cut, images, page, progress, remarks, section, table
from kdbench.render.notes import task_notes
from kdbench.results.records import Status
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
    leading = figures_of(Group.LEADING)
    lines = [
        [figure.text(row) for figure in leading]
        + [milliseconds(measured.get((row["strategy"], *size))) for size in sizes]
        for row in rows_of(timed)
    ]
    best = set()
    for j, size in enumerate(sizes):
        column = [measured.get((name, *size)) for name in timed["strategy"]]
        least = min(value for value in column if value is not None)
        best |= {(i, len(leading) + j) for i, value in enumerate(column) if value == least}
    headings = [*_headings(leading), *((f"{batch} x {length}", False) for batch, length in sizes)]
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
    figures = [FIGURES["strategy"], *(one for one in figures_of(Group.SPEED) if one.name in POINT_COLUMNS)]
    parts = []
    for setting, of_setting in further.groupby("setting"):
        measured = {one["strategy"]: one for one in rows_of(of_setting)}
        lines = [{**row, **measured[name]} for name, row in timed.items() if name in measured]
        if lines:
            cells = [[figure.text(line) for figure in figures] for line in lines]
            parts += [f"{escape_markdown(str(setting))}:", table(_headings(figures), cells)]
    return page("## Speed in other settings", *parts, _OTHER_SETTINGS_NOTE).rstrip() if parts else ""


def _headings(figures: Iterable[Figure]) -> list[tuple[str, bool]]:
    return [(escape_markdown(figure.heading), figure.is_text) for figure in figures]


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
        _section(rows, _quality(rows), is_first=True),
        section("Without a score", _reasons(rows)),
        _pictures(task, cells["metric"].iloc[0], drawn),
        section("Warnings", remarks(rows, "warnings")),
        *(_section(scored, figures_of(group)) for group in (Group.BEHAVIOUR, Group.SIZE, Group.SPEED)),
        grid_section(scored, points),
        section("Timed in another setting", remarks(rows, "latency_note")),
        elsewhere_section(scored, points),
        _section(scored, figures_of(Group.COST)),
        _section(rows, _of_plugins(rows)),
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


def _section(rows: pd.DataFrame, figures: list[Figure], *, is_first: bool = False) -> str:
    """Return a table with a note on each figure below; without those that no row has.

    Args:
        rows: to show.
        figures: of one group.
        is_first: whether it is the page's first table, where the notes on the leading figures stand.
    """
    lines = rows_of(rows)
    shown = [
        figure
        for figure in figures
        if figure.is_on_tasks_page and any(figure.text(row) != MISSING for row in lines)
    ]
    if not shown:
        return ""
    leading = figures_of(Group.LEADING)
    columns = [*leading, *shown]
    notes = "\n".join(
        f"- *{escape_markdown(figure.heading)}*: {figure.note}"
        for figure in (columns if is_first else shown)
        if figure.note
    )
    made = table(
        _headings(columns),
        [[figure.text(row) for figure in columns] for row in lines],
        {(place, j) for j, figure in enumerate(columns) for place in best_rows(figure, lines)},
    )
    return page(f"## {shown[0].group.value}", made, notes).rstrip()


def _quality(rows: pd.DataFrame) -> list[Figure]:
    """Return the figures of quality as one task's page shows them: the metric by its name, the control by its own."""
    statuses = dict(zip(rows["strategy"], rows["status"], strict=True))
    special = {
        "score": {"heading": rows["metric"].iloc[0]},
        "control_difference": {"tell": lambda row: _against_control(row, statuses)},
    }
    return [replace(figure, **special.get(figure.name, {})) for figure in figures_of(Group.QUALITY)]


def _against_control(row: Row, statuses: dict[str, str]) -> str:
    """Return the difference to the control and its name, or why there is none."""
    control = row["control"]
    if not control:
        return MISSING
    if row["control_difference"] is not None:
        return f"{FIGURES['control_difference'].text(row)} ({control})"
    if control not in statuses:
        return f"{control}: not run"
    return MISSING if statuses[control] == Status.OK.value else f"{control}: {statuses[control]}"


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


def _of_plugins(rows: pd.DataFrame) -> list[Figure]:
    return [
        plugin_figure(name) for name in rows.columns if name not in ROW_COLUMNS and rows[name].notna().any()
    ]
