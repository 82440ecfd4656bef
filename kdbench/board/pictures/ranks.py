"""Ranks by score across tasks: one point a task, and their mean."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kdbench.board.pictures.drawn_rows import DrawnRow
from kdbench.board.pictures.layout import settle
from kdbench.board.pictures.parts import QUIET, blank, height, name_lines
from kdbench.stats import average_ranks, score_ranks

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
