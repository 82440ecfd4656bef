"""Render the page over all tasks: strategies by tasks."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pandas as pd
from markupsafe import Markup

from kdbench.board.diff import Changes
from kdbench.board.figures import FIGURES, WARNING_SIGN, Figure, marked
from kdbench.board.frames import Row, first_row, rows_of
from kdbench.render.answers import ANSWERS_PAGE
from kdbench.render.diff import CHANGES_PAGE, headline
from kdbench.render.html.page import PAGE
from kdbench.render.labels import LABELS_PAGE
from kdbench.render.markdown import images, markdown, score_or_status, table
from kdbench.render.notes import ONE_SEED, is_of_one_seed, rerun_command, run_facts
from kdbench.utils import formatting
from kdbench.utils.formatting import MISSING, escape_markdown, plural

_COSTS = [FIGURES[name] for name in ("total_parameters", "speedup")]
_FEW = 10
"""The number of tasks below which a mean over them says little about other tasks."""


def overview_page(
    rows: pd.DataFrame,
    cells: pd.DataFrame,
    across: pd.DataFrame,
    pending: int = 0,
    left_out: Iterable[str] = (),
    unreadable: int = 0,
    changes: Changes | None = None,
    drawn: Collection[str] = (),
) -> str:
    """Return the page over all tasks, from their tables: strategies by tasks, best average rank first.

    Args:
        pending: the number of cells that have not ended yet.
        left_out: a line for each part of the results folder that is not on this board.
        unreadable: the number of unreadable files in the results folder.
        changes: what changed since older records, if the board was compared with some.
        drawn: the paths of the HTML page and the pictures in the board's folder.
    """
    lines = list(left_out)
    if unreadable:
        files = plural(unreadable, "file")
        lines.append(f"skipped {files} of the results folder that could not be read as a record")
    return markdown(
        "overview",
        cell=first_row(cells),
        headline=ONE_SEED if is_of_one_seed(rows) else "",
        page=PAGE,
        labels_page=LABELS_PAGE,
        answers_page=ANSWERS_PAGE,
        drawn=drawn,
        done=len(cells),
        pending=pending,
        changes_page=CHANGES_PAGE,
        changed=None if changes is None else headline(changes),
        matrix=_matrix(rows, across),
        few=_FEW,
        ranked=int(across["average_rank"].notna().sum()),
        copies=[f"{row['strategy']} of {row['copy_of']}" for row in rows_of(across) if row["copy_of"]],
        not_normalized=list(across["not_normalized"].dropna().unique()),
        warning_sign=WARNING_SIGN,
        pictures=images(drawn, [("ranks", "ranks of the strategies on every task, and their means")]),
        across=rows_of(across),
        tasks=_tasks(rows, cells),
        rows=rows_of(rows),
        left_out=lines,
        facts=run_facts(cells),
        command=rerun_command(cells),
    )


def _matrix(rows: pd.DataFrame, across: pd.DataFrame) -> Markup:
    metrics: dict[str, str] = dict(zip(rows["task"], rows["metric"], strict=True))
    headings = [
        ("strategy", True),
        ("average rank", False),
        ("normalized mean", False),
        ("worst task", False),
        *(
            (Markup(f"[{escape_markdown(task)}]({task}.md) {escape_markdown(metric)}"), False)
            for task, metric in metrics.items()
        ),
        *((figure.heading, False) for figure in _COSTS),
    ]
    by_strategy = {strategy: rows_of(own) for strategy, own in rows.groupby("strategy")}
    lines = [
        _line(averages, by_strategy[averages["strategy"]], list(metrics)) for averages in rows_of(across)
    ]
    scores = rows.pivot(index="strategy", columns="task", values="score").loc[across["strategy"]]
    best = _best(across["average_rank"], 1, least=True) | _best(across["interquartile_mean"], 2)
    best |= _best(across["worst_normalized"], 3)
    best = best.union(*(_best(scores[task], column) for column, task in enumerate(metrics, start=4)))
    return table(headings, lines, best)


def _line(across: Row, rows: list[Row], tasks: list[str]) -> list[str]:
    scores = {row["task"]: score_or_status(row) for row in rows}
    is_teacher = any(row["is_teacher"] for row in rows)
    return [
        marked(across["strategy"], is_teacher=is_teacher, is_warned=any(row["warnings"] for row in rows)),
        formatting.rank(across["average_rank"]),
        formatting.with_interval(
            across["interquartile_mean"], across["interquartile_mean_low"], across["interquartile_mean_high"]
        ),
        formatting.score_on(across["worst_normalized"], across["worst_task"]),
        *(scores.get(task, MISSING) for task in tasks),
        *(_range(figure, rows) for figure in _COSTS),
    ]


def _best(values: pd.Series[float], column: int, *, least: bool = False) -> set[tuple[int, int]]:
    """Return row and column of the best of `values` in a table's `column`; none if all are equal."""
    if values.nunique() < 2:
        return set()
    best = values.min() if least else values.max()
    return {(i, column) for i, value in enumerate(values) if value == best}


def _range(figure: Figure, rows: list[Row]) -> str:
    """Return the minimum and the maximum as text, or one text where both are written the same."""
    values = [value for row in rows if (value := figure.value(row)) is not None]
    if not values:
        return MISSING
    return " to ".join(dict.fromkeys([figure.write(min(values)), figure.write(max(values))]))


def _tasks(rows: pd.DataFrame, cells: pd.DataFrame) -> list[dict[str, Any]]:
    titles = dict(zip(cells["task"], cells["task_title"], strict=True))
    scored = rows.groupby("task")["score"].agg(["count", "size"])
    return [
        {"name": task, "title": titles[task], "scored": count, "unscored": size - count}
        for task, count, size in scored.itertuples()
    ]
