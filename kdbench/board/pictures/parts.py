"""What several pictures are made of."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from kdbench.board.pictures.drawn_rows import DrawnRow

QUIET = "#6b7480"
_STEP, _HIGHEST = 2.0, 60.0
"""In points."""
_MARK = 10.0
"""A point's width in pixels."""


def family_legend(figure: Figure, rows: Iterable[DrawnRow]) -> None:
    """Name below all axes the families of `rows`."""
    looks = {row.family: row.look for row in sorted(rows, key=lambda row: row.family)}
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle="", label=family)
        for family, look in looks.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4))


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


def settle(figure: Figure) -> None:
    """Lay `figure` out for good, so that what is placed by pixels afterwards stays there."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


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
