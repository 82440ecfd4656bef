"""What several pictures are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator
from matplotlib.transforms import Bbox

from kdbench.board.pictures.drawn_rows import DrawnRow
from kdbench.render.palette import Look

QUIET = "#6b7480"
_LEAST_ROOM = 2.0
"""In percent points."""
_STEP, _HIGHEST = 2.0, 60.0
"""In points."""
_MARK = 10.0
"""A point's width in pixels."""


def blank(width: float, height: float) -> Figure:
    """Return a figure of this many inches, to be laid out by `settle`.

    With a canvas of its own it does not set up a new one for each text that it measures.
    """
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def score_limits(rows: Iterable[DrawnRow], others: Iterable[float] = ()) -> tuple[float, float]:
    """Return the ends of an axis of scores in percent: every row's mean and seeds, and `others`.

    Intervals have half as much room again, so that one row of few and unlike seeds does not press all others together.
    """
    rows = list(rows)
    scores = [score for row in rows for score in (row.score, *row.seed_scores)]
    ends = [end for row in rows if row.interval for end in row.interval]
    room = max((max(scores) - min(scores)) / 2, _LEAST_ROOM)
    low = max(min([*scores, *ends]), min(scores) - room)
    high = min(max([*scores, *ends]), max(scores) + room)
    margin = 0.03 * (high - low)
    return min([low, *others]) - margin, max([high, *others]) + margin


def draw_intervals(
    axes: Axes,
    intervals: Iterable[tuple[Look, float, float, float]],
    *,
    upright: bool = False,
    limits: tuple[float, float] | None = None,
    **style: float,
) -> None:
    """Draw each interval (where, low, high) in the colour of its look.

    Args:
        axes: to draw on.
        intervals: with the look of each.
        upright: whether scores go up rather than to the right.
        limits: the ends of the axis of scores: an interval that reaches further ends there in an arrow.
        style: how a line is drawn.
    """
    # All of them, and below the marks of a look, are one to matplotlib, which takes long for every artist.
    drawn = [(where, low, high, look.colour) for look, where, low, high in intervals]
    if not drawn:
        return
    lines: Callable[..., LineCollection] = axes.vlines if upright else axes.hlines
    lines(*zip(*drawn, strict=True), zorder=2, **style)
    if limits is None:
        return
    if upright:
        axes.set_ylim(limits)
    else:
        axes.set_xlim(limits)
    low_end, high_end = limits
    below, above = ("v", "^") if upright else ("<", ">")
    cut = [((below, colour), (where, low_end)) for where, low, _, colour in drawn if low < low_end]
    cut += [((above, colour), (where, high_end)) for where, _, high, colour in drawn if high > high_end]
    arrows: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for arrow, place in cut:
        arrows.setdefault(arrow, []).append(place if upright else place[::-1])
    for (marker, colour), places in arrows.items():
        xs, ys = zip(*places, strict=True)
        axes.plot(xs, ys, marker, color=colour, markersize=4, linestyle="", clip_on=False, zorder=2)


def draw_marks(axes: Axes, marks: Iterable[tuple[Look, float, float]]) -> None:
    """Draw a mark of the look at each place (x, y)."""
    places: dict[Look, list[tuple[float, float]]] = {}
    for look, x, y in marks:
        places.setdefault(look, []).append((x, y))
    for look, found in places.items():
        xs, ys = zip(*found, strict=True)
        axes.plot(xs, ys, look.marker, color=look.colour, markersize=6, linestyle="", zorder=3)


def family_legend(figure: Figure, rows: Iterable[DrawnRow]) -> None:
    """Name below all axes the families of `rows`."""
    looks = {row.family: row.look for row in sorted(rows, key=lambda row: row.family)}
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle="", label=family)
        for family, look in looks.items()
    ]
    figure.legend(handles=handles, loc="lower center", ncols=min(len(handles), 4))


def height(lines: int) -> float:
    """Return the inches that a list of so many names needs."""
    return 1.4 + 0.22 * lines


def name_lines(axes: Axes, names: list[str]) -> None:
    """Write `names` down the vertical axis, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)


def readable_log(axis: Axis) -> None:
    """Mark 1, 2 and 5 of each power of ten on a logarithmic `axis`, in digits."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(EngFormatter(sep=""))
    axis.set_minor_locator(NullLocator())  # marks without digits, which take a fifth of the drawing


def lift_apart(names: Iterable[Annotation], marks: Iterable[tuple[float, float]] = ()) -> None:
    """Lift each of `names` until it covers none before it and no mark.

    Args:
        names: in a figure laid out by `settle`, in offset points from what they name.
        marks: where points are drawn, in pixels.
    """
    placed = [Bbox.from_bounds(x - _MARK / 2, y - _MARK / 2, _MARK, _MARK) for x, y in marks]
    for name in names:
        figure = name.get_figure(root=True)
        step = _STEP * (72 if figure is None else figure.dpi) / 72
        # A text is measured once and its box moved: to measure it at each step takes minutes where rows are many.
        box = name.get_window_extent()
        above = [
            other for other in placed if other.x0 <= box.x1 and box.x0 <= other.x1 and other.y1 >= box.y0
        ]
        while any(box.overlaps(other) for other in above) and name.xyann[1] < _HIGHEST:
            name.xyann = (name.xyann[0], name.xyann[1] + _STEP)
            box = box.translated(0, step)
        placed.append(box.padded(_STEP))
