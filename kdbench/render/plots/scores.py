"""Scores by strategy: the mean with its interval, and every seed as a point."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kdbench.board.figures import FIGURES
from kdbench.render.plots.style import (
    QUIET,
    DrawnRow,
    blank,
    draw_intervals,
    draw_marks,
    family_legend,
    height,
    name_lines,
    score_limits,
    settle,
)
from kdbench.stats import average_ranks, score_ranks


def scores_figure(task: str, metric: str, majority: float | None, rows: list[DrawnRow]) -> Figure:
    """Return the picture of one task's `rows`, best first.

    Args:
        task: its name.
        metric: the headline metric.
        majority: the score of always answering the most frequent label, as a fraction.
        rows: one or more.
    """
    figure = blank(7, height(len(rows)) + 0.5)
    axes = figure.subplots()
    intervals = [(row.look, place, *row.interval) for place, row in enumerate(rows) if row.interval]
    limits = score_limits(rows, [] if majority is None else [100 * majority])
    draw_intervals(axes, intervals, limits=limits, linewidth=1.6)
    draw_marks(axes, [(row.look, row.score, place) for place, row in enumerate(rows)])
    several = [(place, row.seed_scores) for place, row in enumerate(rows) if len(row.seed_scores) > 1]
    axes.plot(
        [score for _, scores in several for score in scores],
        [place for place, scores in several for _ in scores],
        "o",
        color="black",
        markerfacecolor="white",
        markeredgewidth=0.6,
        markersize=3,
        zorder=4,
    )
    if majority is not None:
        axes.axvline(100 * majority, color=QUIET, linestyle=":", linewidth=1, zorder=1)
        axes.annotate(
            "most frequent label",
            (100 * majority, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, 3),
            textcoords="offset points",
            color=QUIET,
            fontsize=7,
        )
    name_lines(axes, [row.name for row in rows])
    axes.set_xlabel(f"{metric}, %: mean and 95% interval" + _seeds(rows))
    axes.set_title(f"{task}: scores", pad=14)
    family_legend(figure, rows)
    settle(figure)
    return figure


def _seeds(rows: list[DrawnRow]) -> str:
    return "; white: single seeds" if any(len(row.seed_scores) > 1 for row in rows) else ""


_EDGE = 250.0
"""Percent: what lies beyond is told, not drawn, since a small lead makes any share large."""


def gap_figure(task: str, rows: list[DrawnRow]) -> Figure | None:
    """Return the picture of those of one task's `rows` whose teacher is shown to lead their control, or None.

    Args:
        task: its name.
        rows: of this task.
    """
    known = [row for row in rows if FIGURES["gap_recovered"].value(row.row) is not None]
    if not known:
        return None
    known.sort(key=lambda row: (-row.row["gap_recovered"], row.name))
    figure = blank(7, height(len(known)) + 0.6)
    axes = figure.subplots()
    intervals = [
        (row.look, place, 100 * row.row["gap_low"], 100 * row.row["gap_high"])
        for place, row in enumerate(known)
        if row.row["gap_low"] is not None and row.row["gap_high"] is not None
    ]
    draw_intervals(axes, intervals, linewidth=1.6)
    shares = [(row.look, 100 * row.row["gap_recovered"], place) for place, row in enumerate(known)]
    draw_marks(axes, [mark for mark in shares if abs(mark[1]) <= _EDGE])
    for look, share, place in shares:
        if abs(share) > _EDGE:
            axes.annotate(
                f"{share:.0f}% " + ("\N{RIGHTWARDS ARROW}" if share > 0 else "\N{LEFTWARDS ARROW}"),
                (_EDGE if share > 0 else -_EDGE, place),
                horizontalalignment="right" if share > 0 else "left",
                verticalalignment="center",
                color=look.colour,
            )
    for share, name in ((0, "control"), (100, "teacher")):
        axes.axvline(share, color=QUIET, linestyle=":", linewidth=1, zorder=1)
        axes.annotate(
            name,
            (share, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            horizontalalignment="center",
            color=QUIET,
            fontsize=7,
        )
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, -_EDGE), min(max(high, 110), _EDGE))
    name_lines(axes, [f"{row.name} over {row.row['control']}" for row in known])
    axes.set_xlabel("gap recovered, %, and its 95% interval,\nwhere the teacher is shown to lead the control")
    axes.set_title(f"{task}: gap recovered", pad=14)
    family_legend(figure, known)
    settle(figure)
    return figure


_MARKERS = "osD^vP<>X*"
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")

_FEW = 5
"""So many ranks are on the axis at least, so that all are whole numbers."""


def ranks_figure(rows: list[DrawnRow], scores: pd.DataFrame) -> Figure | None:
    """Return the ranks by score, best mean first; None where there are not two tasks.

    Args:
        rows: all rows that have a score.
        scores: those of the rows that have one on every task, as `complete_scores` gives them.
    """
    tasks = list(scores.columns)
    if len(tasks) < 2 or scores.empty:
        return None
    names = {row.row["strategy"]: row.name for row in rows}
    values = scores.to_numpy()
    means = dict(zip(scores.index, average_ranks(values).tolist(), strict=True))
    whole = dict(zip(scores.index, score_ranks(values).tolist(), strict=True))
    order = sorted(whole, key=lambda name: (means[name], name))
    figure = blank(7, height(len(order)) + 0.5)
    axes = figure.subplots()
    places = range(len(order))
    lows, highs = [min(whole[name]) for name in order], [max(whole[name]) for name in order]
    axes.hlines(places, lows, highs, "#c9ced6", linewidth=1.2, zorder=1)
    axes.plot(
        [means[name] for name in order],
        places,
        "|",
        color="black",
        markersize=11,
        markeredgewidth=1.6,
        linestyle="",
        zorder=2,
    )
    for number, task in enumerate(tasks):
        axes.plot(
            [whole[name][number] for name in order],
            [place + _apart(number, len(tasks)) for place in places],
            _MARKERS[number % len(_MARKERS)],
            color=_COLOURS[number % len(_COLOURS)],
            markersize=5,
            linestyle="",
            alpha=0.8,
            label=task,
            zorder=3,
        )
    name_lines(axes, [names[name] for name in order])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    highest = max(rank for name in order for rank in whole[name])
    axes.set_xlim(0.4, max(highest, _FEW) + 0.6)
    axes.set_xlabel("rank by score; the bar is the mean over tasks")
    left_out = len(names) - len(order)
    axes.set_title("Ranks across tasks")
    if left_out:
        axes.annotate(
            f"without a score on every task: {left_out}",
            (1, 1.01),
            xycoords="axes fraction",
            horizontalalignment="right",
            color=QUIET,
            fontsize=7,
        )
    figure.legend(loc="lower center", ncols=min(len(tasks), 4))
    settle(figure)
    return figure


def _apart(number: int, tasks: int) -> float:
    """Return how far below its line the point of a task stands, so that equal ranks do not hide each other."""
    return 0.5 * (number - (tasks - 1) / 2) / tasks
