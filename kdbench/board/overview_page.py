"""The page over all tasks: strategies against tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import fmean

import pandas as pd

from kdbench.board import formatting
from kdbench.board.columns import WARNING_SIGN, has_score, marked
from kdbench.board.formatting import MISSING, escape_markdown, plural
from kdbench.board.frames import Row, rows_of
from kdbench.board.markdown import page, progress, remarks, section, table
from kdbench.board.notes import run_notes


def overview_page(
    rows: pd.DataFrame,
    cells: pd.DataFrame,
    pending: int = 0,
    left_out: Iterable[str] = (),
    unreadable: int = 0,
) -> str:
    """Return the page over all tasks: strategies against tasks, best mean rank first.

    Args:
        rows: the table of rows.
        cells: the table of cells.
        pending: how many cells have not ended yet.
        left_out: a line for what stands in the results folder but not on this board.
        unreadable: how many files of the results folder could not be read.
    """
    notes = [escape_markdown(line) for line in left_out]
    if unreadable:
        notes.append(
            f"skipped {plural(unreadable, 'file')} of the results folder that could not be read as a record"
        )
    return page(
        f"# Leaderboard: budget {escape_markdown(cells['budget'].iloc[0])}",
        f"Ways of making {escape_markdown(cells['model'].iloc[0])} smaller or cheaper to adapt, each under the same"
        " budget. Scores are in percent; a task's page has their intervals, latencies, costs and footnotes.",
        progress(len(cells), pending),
        _matrix(rows),
        "Rows stand in the order of their mean rank over the tasks; a row without a score on every task has none and"
        f" comes after. {WARNING_SIGN} marks a row with a warning. Where tasks differ, both ends are given.",
        section("Tasks", [_task_line(part, cells) for _, part in rows.groupby("task")]),
        section(
            "Warnings",
            [
                line
                for task, part in rows.groupby("task")
                for line in remarks(part, "warnings", f" on {escape_markdown(str(task))}")
            ],
        ),
        section("Left out", notes),
        section("Notes", run_notes(cells)),
    )


def _matrix(rows: pd.DataFrame) -> str:
    metrics = {str(task): str(metric) for task, metric in zip(rows["task"], rows["metric"], strict=True)}
    headings = [
        ("strategy", True),
        ("mean rank", False),
        *(
            (f"[{escape_markdown(task)}]({task}.md) {escape_markdown(metrics[task])}", False)
            for task in metrics
        ),
        ("parameters", False),
        ("speed-up", False),
    ]
    by_strategy: dict[str, list[Row]] = {}
    for row in rows_of(rows):
        by_strategy.setdefault(row["strategy"], []).append(row)
    places = {name: _place(own, len(metrics)) for name, own in by_strategy.items()}
    order = sorted(by_strategy, key=lambda name: (places[name], name))
    return table(headings, [_line(name, by_strategy[name], list(metrics)) for name in order])


def _place(rows: list[Row], tasks: int) -> tuple[int, float]:
    """Return how many tasks the rows of one strategy have no rank on, and the mean of the ranks that they have."""
    ranks = _present(rows, "rank")
    return tasks - len(ranks), fmean(ranks) if ranks else 0.0


def _line(name: str, rows: list[Row], tasks: list[str]) -> list[str]:
    scores = {row["task"]: _score(row) for row in rows}
    without_rank, mean_rank = _place(rows, len(tasks))
    is_teacher = any(row["is_teacher"] for row in rows)
    return [
        marked(name, is_teacher=is_teacher, is_warned=any(row["warnings"] for row in rows)),
        MISSING if without_rank else f"{mean_rank:.1f}",
        *(scores.get(task, MISSING) for task in tasks),
        _range(_present(rows, "total_parameters"), formatting.count),
        _range(_present(rows, "speedup"), formatting.ratio),
    ]


def _present(rows: list[Row], column: str) -> list[float]:
    return [row[column] for row in rows if row[column] is not None]


def _score(row: Row) -> str:
    return formatting.percent(row["score"]) if has_score(row) else str(row["status"])


def _range(values: list[float], write: Callable[[float], str]) -> str:
    """Return the least and the greatest value, or one text where they read alike."""
    if not values:
        return MISSING
    return " to ".join(dict.fromkeys([write(min(values)), write(max(values))]))


def _task_line(rows: pd.DataFrame, cells: pd.DataFrame) -> str:
    task = rows["task"].iloc[0]
    title = cells.loc[cells["task"] == task, "task_title"].iloc[0]
    scored = sum(has_score(row) for row in rows_of(rows))
    without = len(rows) - scored
    return (
        f"[{escape_markdown(task)}]({task}.md) ([CSV]({task}.csv)): {escape_markdown(title)};"
        f" {plural(scored, 'row')} with a score{f', {without:,} without' if without else ''}"
    )
