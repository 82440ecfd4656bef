"""Quality against cost, with the rows that score more than every cheaper one joined by a line."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from kdbench.board.figures import FIGURES
from kdbench.board.figures import Figure as BoardFigure
from kdbench.render.plots.style import (
    QUIET,
    DrawnRow,
    blank,
    draw_intervals,
    draw_marks,
    family_legend,
    lift_apart,
    readable_log,
    score_limits,
    settle,
)


@dataclass(frozen=True)
class _Point:
    row: DrawnRow
    cost: float


_COSTS = [FIGURES[name] for name in ("p50_ms", "total_parameters", "training_cost_s")]


def pareto_figure(task: str, metric: str, rows: list[DrawnRow]) -> Figure | None:
    """Return a panel for each cost that two or more of `rows` have; None where there is none."""
    panels = {cost.axis: points for cost in _COSTS if len(points := _points(rows, cost)) > 1}
    if not panels:
        return None
    figure = blank(3.4 * len(panels) + 0.6, 4.4)
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    limits = score_limits(rows)
    names: list[Annotation] = []
    marks: list[tuple[Axes, _Point]] = []
    for axes, (title, points) in zip(all_axes, panels.items(), strict=True):
        names += _draw(axes, points, limits)
        marks += [(axes, point) for point in points]
        axes.set_xlabel(title)
    all_axes[0].set_ylabel(f"{metric}, %, with 95% intervals")
    all_axes[0].set_title(f"{task}: quality against cost")
    family_legend(figure, rows)
    settle(figure)
    lift_apart(names, [_pixel(axes, point) for axes, point in marks])
    return figure


def _pixel(axes: Axes, point: _Point) -> tuple[float, float]:
    x, y = axes.transData.transform((point.cost, point.row.score))
    return float(x), float(y)


def front(points: list[tuple[float, float]]) -> list[int]:
    """Return the places of those `points`, each a cost and a score, that score more than every cheaper one.

    They come from the cheapest on; of equal costs the best score counts, of equal points the first.
    """
    members = []
    best = float("-inf")
    for place in sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1])):
        if points[place][1] > best:
            members.append(place)
            best = points[place][1]
    return members


def _points(rows: list[DrawnRow], figure: BoardFigure) -> list[_Point]:
    costs = [figure.value(row.row) for row in rows]
    return [_Point(row, float(cost)) for row, cost in zip(rows, costs, strict=True) if cost and cost > 0]


def _draw(axes: Axes, points: list[_Point], limits: tuple[float, float]) -> list[Annotation]:
    """Draw `points` and return the names of those on the front."""
    intervals = [(point.row.look, point.cost, *point.row.interval) for point in points if point.row.interval]
    draw_intervals(axes, intervals, upright=True, limits=limits, linewidth=0.9, alpha=0.5)
    draw_marks(axes, [(point.row.look, point.cost, point.row.score) for point in points])
    members = [points[place] for place in front([(point.cost, point.row.score) for point in points])]
    axes.step(
        [point.cost for point in members],
        [point.row.score for point in members],
        where="post",
        color=QUIET,
        linestyle="--",
        linewidth=1,
        zorder=1,
    )
    axes.set_xscale("log")
    readable_log(axes.xaxis)
    axes.margins(x=0.12)
    low, high = axes.get_xlim()
    return _names(axes, members, middle=(low * high) ** 0.5)


def _names(axes: Axes, members: list[_Point], *, middle: float) -> list[Annotation]:
    """Write the names of the front's members, to the left of those on the right of `middle`."""
    return [
        axes.annotate(
            point.row.name,
            (point.cost, point.row.score),
            xytext=(5 if point.cost <= middle else -5, 4),
            textcoords="offset points",
            horizontalalignment="left" if point.cost <= middle else "right",
            fontsize=8,
            zorder=5,
        )
        for point in members
    ]
