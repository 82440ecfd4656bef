"""Scores by strategy: the mean with its interval, and every seed as a point."""

from __future__ import annotations

from matplotlib.figure import Figure

from kdbench.board.pictures.drawn_rows import DrawnRow
from kdbench.board.pictures.layout import settle
from kdbench.board.pictures.parts import (
    QUIET,
    blank,
    draw_intervals,
    draw_marks,
    family_legend,
    height,
    name_lines,
    score_limits,
)


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
