"""The page over all tasks: strategies against tasks."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pandas as pd

from kdbench.board.diff import Changes
from kdbench.board.figures import FIGURES, WARNING_SIGN, Figure, marked
from kdbench.board.frames import Row, rows_of
from kdbench.board.rows import has_score
from kdbench.render.diff import CHANGES_PAGE, headline
from kdbench.render.html.page import PAGE
from kdbench.render.markdown import cut, images, page, progress, remarks, section, table
from kdbench.render.notes import rerun_command, run_notes
from kdbench.utils import formatting
from kdbench.utils.formatting import MISSING, escape_markdown, plural

_COSTS = [FIGURES[name] for name in ("total_parameters", "speedup")]
_FEW = 10
"""Tasks below which a mean over them says little of further tasks."""


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
    """Return the page over all tasks: strategies against tasks, best average rank first.

    Args:
        rows: the table of rows.
        cells: the table of cells.
        across: the table over all tasks.
        pending: how many cells have not ended yet.
        left_out: a line for what stands in the results folder but not on this board.
        unreadable: how many files of the results folder could not be read.
        changes: what became of older records, where the board was held against some.
        drawn: the paths of page and pictures in the board's folder.
    """
    notes = [escape_markdown(line) for line in left_out]
    if unreadable:
        notes.append(
            f"skipped {plural(unreadable, 'file')} of the results folder that could not be read as a record"
        )
    return page(
        f"# Leaderboard: budget {escape_markdown(cells['budget'].iloc[0])}",
        f"Ways of making {escape_markdown(cells['model'].iloc[0])} smaller or cheaper to adapt, each under the same"
        " budget. Scores are in percent; a task's page has their intervals, ranks, latencies, costs and footnotes."
        " All of it as data: [over all tasks](overview.csv), [every seed](cells.csv), [latencies](latency.csv),"
        " [records](records.jsonl).",
        f"To sort it, filter it and look into rows, open [the same as one page]({PAGE}) in a browser."
        if PAGE in drawn
        else "",
        progress(len(cells), pending),
        f"[What changed]({CHANGES_PAGE}): {headline(changes)}." if changes is not None else "",
        _matrix(rows, across),
        "\n".join(f"- {line}" for line in _explained(rows, across)),
        images(drawn, [("ranks", "ranks of the strategies on every task, and their means")]),
        section("Without an average", _missing(across)),
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
        _again(cells),
    )


def _again(cells: pd.DataFrame) -> str:
    # An indented block shows every character as it is.
    command = "\n".join(f"    {line}" for line in rerun_command(cells))
    return page(
        "## The same again",
        "With the same plugins and data at hand, this makes the records of this board, and draws it.",
        command,
    ).rstrip()


def _matrix(rows: pd.DataFrame, across: pd.DataFrame) -> str:
    metrics = {str(task): str(metric) for task, metric in zip(rows["task"], rows["metric"], strict=True)}
    headings = [
        ("strategy", True),
        ("average rank", False),
        ("normalized mean", False),
        *(
            (f"[{escape_markdown(task)}]({task}.md) {escape_markdown(metrics[task])}", False)
            for task in metrics
        ),
        *((figure.heading, False) for figure in _COSTS),
    ]
    by_strategy: dict[str, list[Row]] = {}
    for row in rows_of(rows):
        by_strategy.setdefault(row["strategy"], []).append(row)
    over_all = rows_of(across)
    best = _best(across["average_rank"], 1, least=True) | _best(across["interquartile_mean"], 2)
    for place, task in enumerate(metrics, start=3):
        scores = [_score_on(by_strategy[one["strategy"]], task) for one in over_all]
        there = [score for score in scores if score is not None]
        if len(set(there)) > 1:
            best |= {(i, place) for i, score in enumerate(scores) if score == max(there)}
    return table(
        headings, [_line(one, by_strategy[one["strategy"]], list(metrics)) for one in over_all], best
    )


def _line(across: Row, rows: list[Row], tasks: list[str]) -> list[str]:
    scores = {row["task"]: _score(row) for row in rows}
    is_teacher = any(row["is_teacher"] for row in rows)
    return [
        marked(across["strategy"], is_teacher=is_teacher, is_warned=any(row["warnings"] for row in rows)),
        formatting.rank(across["average_rank"]),
        formatting.with_interval(
            across["interquartile_mean"],
            across["interquartile_mean_low"],
            across["interquartile_mean_high"],
        ),
        *(scores.get(task, MISSING) for task in tasks),
        *(_range(figure, rows) for figure in _COSTS),
    ]


def _best(values: pd.Series[float], column: int, *, least: bool = False) -> set[tuple[int, int]]:
    """Return the places of the best of `values` in a table's `column`; none where all are alike."""
    if values.nunique() < 2:
        return set()
    best = values.min() if least else values.max()
    return {(place, column) for place, value in enumerate(values) if value == best}


def _score_on(rows: list[Row], task: str) -> float | None:
    return next((row["score"] for row in rows if row["task"] == task), None)


def _explained(rows: pd.DataFrame, across: pd.DataFrame) -> list[str]:
    tasks = rows["task"].nunique()
    few = " So few tasks say little of any other." if tasks < _FEW else ""
    lines = [
        f"*average rank*: the rank by score, averaged over {plural(tasks, 'task')}, among the rows that have a score on"
        " all of them; it counts lucky differences, too, which the ranks on the tasks' pages do not.",
        "*normalized mean*: the interquartile mean over tasks and seeds of (score - majority) / (teacher - majority) in"
        " percent: 0 is always giving the most frequent answer, 100 the teacher (Agarwal et al. 2021); its 95% interval"
        f" is a bootstrap over the seeds of each task and speaks of other seeds, not of other tasks.{few}",
        f"{WARNING_SIGN} marks a row with a warning. Where tasks differ, both ends are given.",
    ]
    unscaled = across["not_normalized"].dropna().unique()
    if len(unscaled):
        lines.insert(2, f"No row has a normalized mean: {escape_markdown('; '.join(unscaled))}.")
    return lines


def _missing(across: pd.DataFrame) -> list[str]:
    """Tell which cells each strategy lacks for an average."""
    return [
        f"**{escape_markdown(one['strategy'])}** has no score on {cut(one['missing'])}"
        for one in rows_of(across)
        if one["missing"]
    ]


def _score(row: Row) -> str:
    return formatting.percent(row["score"]) if has_score(row) else str(row["status"])


def _range(figure: Figure, rows: list[Row]) -> str:
    """Return the least and the greatest value, or one text where they read alike."""
    values = [value for row in rows if (value := figure.value(row)) is not None]
    if not values:
        return MISSING
    return " to ".join(dict.fromkeys([figure.write(min(values)), figure.write(max(values))]))


def _task_line(rows: pd.DataFrame, cells: pd.DataFrame) -> str:
    task = rows["task"].iloc[0]
    title = cells.loc[cells["task"] == task, "task_title"].iloc[0]
    scored = sum(has_score(row) for row in rows_of(rows))
    without = len(rows) - scored
    return (
        f"[{escape_markdown(task)}]({task}.md) ([CSV]({task}.csv)): {escape_markdown(title)};"
        f" {plural(scored, 'row')} with a score{f', {without:,} without' if without else ''}"
    )
