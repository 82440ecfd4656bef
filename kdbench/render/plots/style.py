"""What several pictures are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from typing import Any, NamedTuple

import matplotlib.style
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator
from matplotlib.transforms import Bbox

from kdbench.board.frames import Row, rows_of
from kdbench.board.load import Loaded
from kdbench.board.rows import has_score
from kdbench.render.palette import Look, family_looks
from kdbench.utils.formatting import on_one_line

NAME_LIMIT = 40


@dataclass(frozen=True)
class DrawnRow:
    """A row with a score."""

    row: Row
    """Of the table of rows."""
    name: str
    family: str
    look: Look
    seed_scores: tuple[float, ...]
    key: str | None
    """The cell whose model was timed."""

    @property
    def score(self) -> float:
        """The mean over seeds in percent."""
        return 100 * float(self.row["score"])

    @property
    def interval(self) -> tuple[float, float] | None:
        """The ends of the score's interval in percent."""
        low, high = self.row["score_low"], self.row["score_high"]
        return None if low is None or high is None else (100 * low, 100 * high)


def drawn_rows(rows: pd.DataFrame, loaded: Loaded) -> list[DrawnRow]:
    """Return the rows of the table of rows that have a score, in its order.

    Args:
        rows: the table of rows, or a part of it.
        loaded: the cells of the whole table.
    """
    families = {record.strategy.label: record.strategy.family for record in loaded.records}
    looks = family_looks(families.values())
    timed = {model.key for timing in loaded.timings for model in timing.models}
    cells: dict[tuple[str, str], list[Row]] = {}
    for cell in rows_of(loaded.cells):
        cells.setdefault((cell["task"], cell["strategy"]), []).append(cell)
    drawn = []
    for row in filter(has_score, rows_of(rows)):
        own = cells[row["task"], row["strategy"]]
        family = families[row["strategy"]]
        drawn.append(
            DrawnRow(
                row=row,
                name=short(row["strategy"]) + (" (teacher)" if row["is_teacher"] else ""),
                family=family,
                look=looks[family],
                seed_scores=tuple(100 * cell["score"] for cell in own),
                key=next((cell["key"] for cell in own if cell["key"] in timed), None),
            )
        )
    return drawn


def short(name: str) -> str:
    """Return a row's name so that it fits beside an axis."""
    return on_one_line(name, NAME_LIMIT)


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


_PAD = 3.0
"""The least room between two things, in points."""


class _Beyond(NamedTuple):
    """How far what belongs to a panel reaches beyond it, in pixels."""

    left: float
    right: float
    below: float
    above: float


def settle(figure: Figure) -> None:
    """Lay `figure` out for good, so that what is placed by pixels afterwards stays there.

    Its panels stand side by side below its title, if it has one, and above its legend. Each text is measured once;
    matplotlib's own engines measure all of them over and over, which takes longer than to draw them.
    """
    width, height = figure.bbox.size
    pad = _PAD * figure.dpi / 72
    # Near to where the panels will stand, so that their axes have the ticks that they will have there.
    figure.subplots_adjust(left=0.1, right=0.98, bottom=0.2, top=0.9, wspace=0.1)
    panels = [_beyond(axes) for axes in figure.axes]
    above = 0.0
    for heading in figure.texts:
        heading.set_y(1 - pad / height)
        above += heading.get_window_extent().height + pad
    below = sum(legend.get_window_extent().height + 2 * pad for legend in figure.legends)
    between = max([0.0, *(one.right + other.left + 2 * pad for one, other in pairwise(panels))])
    left, right = panels[0].left + pad, panels[-1].right + pad
    panel_width = (width - left - right - between * (len(panels) - 1)) / len(panels)
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=(max(one.below for one in panels) + pad + below) / height,
        top=1 - (max(one.above for one in panels) + pad + above) / height,
        wspace=between / panel_width,
    )


def _beyond(axes: Axes) -> _Beyond:
    panel, box = axes.bbox, axes.get_tightbbox(for_layout_only=True)
    if box is None:
        return _Beyond(0, 0, 0, 0)
    return _Beyond(panel.x0 - box.x0, box.x1 - panel.x1, panel.y0 - box.y0, box.y1 - panel.y1)


_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titley": 1.0,  # above the axes, where nothing else is: no looking for ticks to stay clear of
    "figure.dpi": 150,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#e3e6ea",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "savefig.facecolor": "white",
    "svg.fonttype": "none",  # text stays text: it can be searched, and two versions compared
    "svg.hashsalt": "kdbench",
    "text.parse_math": False,  # a name may hold a dollar sign
}


def style() -> AbstractContextManager[None]:
    """Return the context to draw and save in: this style alone, whatever the user's own says."""
    return matplotlib.style.context(_STYLE, after_reset=True)


def as_files(name: str, figure: Figure) -> dict[str, bytes]:
    """Return `figure` as ``<name>.svg`` and ``<name>.png``, without a date; called within `style`."""
    return {
        f"{name}.svg": _saved(figure, "svg", metadata={"Date": None, "Creator": None}),
        # Twice as fast as by default, and hardly larger.
        f"{name}.png": _saved(figure, "png", metadata={"Software": None}, pil_kwargs={"compress_level": 3}),
    }


def _saved(figure: Figure, form: str, **options: Any) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format=form, **options)
    return buffer.getvalue()
