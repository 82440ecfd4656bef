"""Latency by length: how long a batch takes as sentences grow, row by row."""

from __future__ import annotations

from math import nan

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import FixedLocator, NullLocator

from kdbench.render.palette import Look
from kdbench.render.plots.style import DrawnRow, blank, family_legend, lift_apart, readable_log, settle
from kdbench.results.timings import ModelTiming

Line = list[tuple[float, float]]
"""Word pieces and median milliseconds, from the shortest on."""
_GAP = (nan, nan)
"""In a line, a place where none is drawn."""


def latency_figure(task: str, rows: list[DrawnRow], timings: dict[str, ModelTiming]) -> Figure | None:
    """Return a panel for each size of batch that was timed at two lengths or more; None where none was.

    Args:
        task: its name.
        rows: of one task.
        timings: by a cell's key.
    """
    lines = {row.name: _lines(timings[row.key]) for row in rows if row.key is not None and row.key in timings}
    drawn = [row for row in rows if lines.get(row.name)]
    sizes = sorted({size for row in drawn for size in lines[row.name]})
    if not sizes:
        return None
    figure = blank(3.6 * len(sizes) + 1, 4.6)
    all_axes = figure.subplots(1, len(sizes), squeeze=False)[0]
    names: list[Annotation] = []
    for axes, size in zip(all_axes, sizes, strict=True):
        ends: list[tuple[float, float, DrawnRow]] = []
        lengths_there: set[float] = set()
        # Lines that look alike are one to matplotlib, which takes long for every artist; nothing joins two of them.
        joined: dict[tuple[Look, bool], Line] = {}
        for row in drawn:
            if size not in lines[row.name]:
                continue
            line = lines[row.name][size]
            lengths_there.update(length for length, _ in line)
            joined.setdefault((row.look, row.row["is_teacher"]), []).extend([*line, _GAP])
            length, milliseconds = line[-1]
            ends.append((milliseconds, length, row))
        for (look, is_teacher), points in joined.items():
            axes.plot(
                *zip(*points, strict=True),
                color="black" if is_teacher else look.colour,
                marker=look.marker,
                markersize=4,
                linewidth=1.8 if is_teacher else 1,
                alpha=1 if is_teacher else 0.75,
                zorder=4 if is_teacher else 3,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_major_locator(FixedLocator(sorted(lengths_there)))
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.xaxis.set_minor_locator(NullLocator())
        readable_log(axes.yaxis)
        axes.set_title(f"batch of {size}")
        axes.set_xlabel("word pieces a sentence")
        names += _name_ends(axes, ends)
    all_axes[0].set_ylabel("median of a call, ms")
    figure.suptitle(f"{task}: latency by length; the teacher in black", x=0.01, ha="left", fontsize=10)
    family_legend(figure, drawn)
    settle(figure)
    lift_apart(names)
    return figure


def _lines(timing: ModelTiming) -> dict[int, Line]:
    """Return the lines by size of batch, in the back end that the artifact is made for."""
    lines: dict[int, Line] = {}
    for point in timing.back_ends[0].points:
        if point.length is not None and point.p50_ms is not None:
            lines.setdefault(point.batch_size, []).append((point.length, point.p50_ms))
    return {size: sorted(line) for size, line in lines.items() if len(line) > 1}


def _name_ends(axes: Axes, ends: list[tuple[float, float, DrawnRow]]) -> list[Annotation]:
    """Name the fastest row, the slowest and the teacher where their lines end."""
    ordered = sorted(ends, key=lambda end: end[0])
    named = [end for end in ordered if end in (ordered[0], ordered[-1]) or end[2].row["is_teacher"]]
    return [
        axes.annotate(
            row.name,
            (length, milliseconds),
            xytext=(-4, -11 if milliseconds == ordered[0][0] else 6),
            textcoords="offset points",
            horizontalalignment="right",
            fontsize=7,
            zorder=5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5},
        )
        for milliseconds, length, row in named
    ]
