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
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from kdbench.board.families import Look
from kdbench.board.pictures.drawn_rows import DrawnRow

QUIET = "#6b7480"
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


def draw_intervals(
    draw: Callable[..., LineCollection], intervals: Iterable[tuple[Look, float, float, float]], **style: float
) -> None:
    """Draw each interval (where, low, high) in the colour of its look.

    Args:
        draw: `hlines` or `vlines` of the axes.
        intervals: with the look of each.
        style: how a line is drawn.
    """
    # All of them, and below the marks of a look, are one to matplotlib, which takes long for every artist.
    drawn = [(where, low, high, look.colour) for look, where, low, high in intervals]
    if drawn:
        draw(*zip(*drawn, strict=True), zorder=2, **style)


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
    axis.set_minor_formatter(NullFormatter())


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
