"""The part of the teacher's lead over a row's control that the row recovers, with its interval."""

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
)
from kdbench.render.columns import shown_gap

_EDGE = 250.0
"""Percent: what lies beyond is told, not drawn, since a small lead makes any share large."""


def gap_figure(task: str, rows: list[DrawnRow]) -> Figure | None:
    """Return the picture of those of one task's `rows` whose teacher is shown to lead their control, or None.

    Args:
        task: its name.
        rows: of this task.
    """
    known = [row for row in rows if shown_gap(row.row) is not None]
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
