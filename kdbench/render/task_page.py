"""Render the page of one task."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from itertools import groupby

import pandas as pd
from markupsafe import Markup

from kdbench.board.columns import POINT_COLUMNS, ROW_COLUMNS
from kdbench.board.figures import FIGURES, Figure, Group, best_rows, figures_of, plugin_figure
from kdbench.board.frames import Row, first_row, rows_of
from kdbench.board.statistics import ALPHA, TaskStatistics
from kdbench.render.markdown import images, markdown, table
from kdbench.render.notes import ONE_SEED, is_of_one_seed, run_facts, task_notes
from kdbench.render.serving import load_tables
from kdbench.results.records import Status
from kdbench.utils.formatting import MISSING, milliseconds


def _grid(rows: pd.DataFrame, points: pd.DataFrame) -> Markup | None:
    """Return the table of p50 by batch size and length of the `rows` with a p50, or None if none was timed.

    A row has a line for each back end in which it was timed so.
    """
    timed = rows[rows["p50_ms"].notna()]
    points = _shown(points)
    on_grid = points[points["length"].notna() & points["strategy"].isin(timed["strategy"])]
    measured = {
        (row["strategy"], row["back_end"], row["batch_size"], row["length"]): row["p50_ms"]
        for row in rows_of(on_grid)
        if row["p50_ms"] is not None
    }
    sizes = sorted({key[2:] for key in measured})
    if not sizes:
        return None
    leading = figures_of(Group.LEADING)
    lines, values = [], []
    for row in rows_of(timed):
        own = dict.fromkeys(key[1] for key in measured if key[0] == row["strategy"])
        for back_end in own or [row["back_end"]]:
            values.append([measured.get((row["strategy"], back_end, *size)) for size in sizes])
            leads = [figure.text(row) for figure in leading]
            lines.append([*leads, back_end or MISSING, *map(milliseconds, values[-1])])
    best = set()
    for j in range(len(sizes)):
        column = [line[j] for line in values]
        least = min(value for value in column if value is not None)
        best |= {(i, len(leading) + 1 + j) for i, value in enumerate(column) if value == least}
    headings = [*_headings(leading), ("back end", True)]
    headings += [(f"{batch} x {length}", False) for batch, length in sizes]
    return table(headings, lines, best if len(lines) > 1 else ())


def _shown(points: pd.DataFrame) -> pd.DataFrame:
    """Return the points of the setting that the board shows of each row, its first, and of the seed that was timed."""
    firsts = points["strategy"].map(points.drop_duplicates("strategy").set_index("strategy")["setting"])
    shown = points[points["setting"] == firsts]
    return shown.drop_duplicates(["strategy", "back_end", "batch_size", "length", "threads"])


_OF_BACK_END = [FIGURES[name] for name in ("p50_ms", "p95_ms", "speedup", "p95_speedup")]


def _by_back_end(rows: pd.DataFrame, points: pd.DataFrame) -> Markup | None:
    """Return the table of rows and back ends, or None where every row was timed in one alone."""
    timed = {row["strategy"]: row for row in rows_of(rows) if row["p50_ms"] is not None}
    shown = _shown(points)
    own = shown[shown["length"].isna() & shown["strategy"].isin(list(timed))]
    main = {
        (point["strategy"], point["back_end"]): point
        for point in rows_of(own[(own["batch_size"] == 1) & (own["threads"] == 1)])
        if point["p50_ms"] is not None
    }
    batches = own[own["batch_size"] > 1].groupby(["strategy", "back_end"])["throughput_per_s"].max().to_dict()
    if len(main) <= len(timed):
        return None
    leading = figures_of(Group.LEADING)
    eager = replace(
        FIGURES["speedup"],
        name="eager_speedup",
        heading="over PyTorch",
        interval=("eager_speedup_low", "eager_speedup_high"),
    )
    headings = [*_headings(leading), ("back end", True), *_headings([*_OF_BACK_END, eager])]
    lines = [
        [
            *(figure.text(timed[strategy]) for figure in leading),
            back_end,
            *(figure.text(point) for figure in [*_OF_BACK_END, eager]),
            FIGURES["batch_throughput_per_s"].text(
                {"batch_throughput_per_s": _present(batches.get((strategy, back_end)))}
            ),
        ]
        for strategy in timed
        for (name, back_end), point in main.items()
        if name == strategy
    ]
    return table([*headings, ("per second in batches", False)], lines)


def _present(value: float | None) -> float | None:
    """Return None for what is missing in a table, NaN included."""
    return None if value is None or math.isnan(value) else value


def _other_settings(rows: pd.DataFrame, points: pd.DataFrame) -> list[tuple[str, Markup]]:
    """Return each other setting in which `rows` with a p50 were timed, and its table."""
    timed = {row["strategy"]: row for row in rows_of(rows) if row["p50_ms"] is not None}
    # The first point of a model is its main one; the first setting of a row is in the table above.
    main = points.drop_duplicates(["strategy", "setting"])
    others = main[main.duplicated("strategy")]
    speeds = [figure for figure in figures_of(Group.SPEED) if figure.name in POINT_COLUMNS]
    figures = [FIGURES["strategy"], *speeds]
    tables = []
    for setting, of_setting in others.groupby("setting"):
        measured = {point["strategy"]: point for point in rows_of(of_setting)}
        lines = [{**row, **measured[name]} for name, row in timed.items() if name in measured]
        if lines:
            cells = [[figure.text(line) for figure in figures] for line in lines]
            tables.append((str(setting), table(_headings(figures), cells)))
    return tables


def _headings(figures: Iterable[Figure]) -> list[tuple[str, bool]]:
    return [(figure.heading, figure.is_text) for figure in figures]


def task_page(
    rows: pd.DataFrame,
    cells: pd.DataFrame,
    points: pd.DataFrame,
    statistics: TaskStatistics,
    loads: pd.DataFrame,
    pending: int = 0,
    published: str = "",
    drawn: Collection[str] = (),
) -> str:
    """Return the page of one task, from its parts of the tables and its statistics.

    The page has tables, why rows have no score, warnings, and footnotes.

    Args:
        pending: the number of the task's cells that have not ended yet.
        published: the section of published results, if requested.
        drawn: the paths of the pictures in the board's folder.
    """
    cell = first_row(cells)
    task, metric = cell["task"], cell["metric"]
    scored = rows[rows["status"] == Status.OK.value]
    pictures = [
        (f"scores-{task}", f"{metric} by strategy: means with 95% intervals, and every seed"),
        (f"rank-intervals-{task}", "the ranks that the tests leave open, and the rank of the score"),
        (f"pareto-{task}", f"{metric} against latency, parameters and training, with the Pareto line"),
        (f"latency-{task}", "latency by length, per batch size"),
        (f"curves-{task}", f"{metric} on validation against training texts and training FLOPs"),
        (f"gap-{task}", "the part of the teacher's lead over the control that a row recovers"),
    ]
    return markdown(
        "task",
        cell=cell,
        headline=ONE_SEED if is_of_one_seed(rows) else "",
        rows=rows_of(rows),
        done=len(cells),
        pending=pending,
        quality=_part(rows, _quality(rows), is_first=True),
        pictures=images(drawn, pictures),
        behaviour=_part(scored, figures_of(Group.BEHAVIOUR)),
        size=_part(scored, figures_of(Group.SIZE)),
        speed=_part(scored, figures_of(Group.SPEED)),
        serving=_part(scored, figures_of(Group.SERVING)),
        loads=load_tables(scored, loads),
        by_back_end=_by_back_end(scored, points),
        grid=_grid(scored, points),
        elsewhere=_other_settings(scored, points),
        cost=_part(scored, figures_of(Group.COST)),
        plugins=_part(rows, [plugin_figure(name) for name in rows.columns if name not in ROW_COLUMNS]),
        published=published,
        gap_reasons=_gap_reasons(rows),
        facts=run_facts(cells),
        notes=task_notes(cells, statistics),
        statistics=statistics,
        alpha=ALPHA,
    )


@dataclass(frozen=True)
class _Part:
    group: Group
    table: Markup
    explained: list[Figure]


def _part(rows: pd.DataFrame, figures: list[Figure], *, is_first: bool = False) -> _Part | None:
    """Return a table of the `figures`, of one group, that any row has, or None if there are none.

    The page's first table also explains the leading figures.
    """
    lines = rows_of(rows)
    on_page = [figure for figure in figures if figure.is_on_tasks_page]
    shown = [figure for figure in on_page if any(figure.text(row) != MISSING for row in lines)]
    if not shown:
        return None
    columns = [*figures_of(Group.LEADING), *shown]
    texts = [[figure.text(row) for figure in columns] for row in lines]
    best = {(i, j) for j, figure in enumerate(columns) for i in best_rows(figure, lines)}
    drawn = table(_headings(columns), texts, best)
    return _Part(shown[0].group, drawn, columns if is_first else shown)


def _quality(rows: pd.DataFrame) -> list[Figure]:
    """Return the figures of quality for one task's page: the score is headed by its metric, the control is named."""
    statuses = dict(zip(rows["strategy"], rows["status"], strict=True))
    special = {
        "score": {"heading": rows["metric"].iloc[0]},
        "control_difference": {"tell": lambda row: _difference_to_control(row, statuses)},
    }
    return [replace(figure, **special.get(figure.name, {})) for figure in figures_of(Group.QUALITY)]


def _difference_to_control(row: Row, statuses: dict[str, str]) -> str:
    """Return the difference to the control and the control's name, or why there is none."""
    control = row["control"]
    if not control:
        return MISSING
    if row["control_difference"] is not None:
        return f"{FIGURES['control_difference'].text(row)} ({control})"
    if control not in statuses:
        return f"{control}: not run"
    return MISSING if statuses[control] == Status.OK.value else f"{control}: {statuses[control]}"


def _gap_reasons(rows: pd.DataFrame) -> list[tuple[tuple[str, str], list[str]]]:
    """Return the reasons why rows have no gap recovered, each with the control and the names of the rows."""
    without = sorted(
        (str(row["gap_reason"]), str(row["control"]), str(row["strategy"]))
        for row in rows_of(rows)
        if row["gap_reason"] is not None
    )
    groups = groupby(without, key=lambda line: line[:2])
    return [((reason, control), [name for *_, name in group]) for (reason, control), group in groups]
