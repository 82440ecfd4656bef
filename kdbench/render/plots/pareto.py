"""Plot quality against cost, with the Pareto front joined by a line."""

from __future__ import annotations

from itertools import pairwise

import altair as alt

from kdbench.board.figures import FIGURES, Figure
from kdbench.render.plots.axes import Extent, score_limits
from kdbench.render.plots.files import Specification, specification
from kdbench.render.plots.layers import (
    QUIET,
    chart_of,
    family_encoding,
    interval_layers,
    marks_layer,
    names_layer,
    panel,
)
from kdbench.render.plots.names import Box
from kdbench.render.plots.rows import DrawnRow

_Point = tuple[DrawnRow, float]
"""A row and its cost."""
_COSTS = [FIGURES[name] for name in ("p50_ms", "total_parameters", "training_cost_s")]
_WIDTH, _HEIGHT = 325, 315
"""The size of a panel in pixels."""


def pareto_picture(task: str, metric: str, rows: list[DrawnRow]) -> Specification | None:
    """Return a panel per cost that two or more of `rows` have; None if there is none."""
    panels = {cost.axis: points for cost in _COSTS if len(points := _points(rows, cost)) > 1}
    if not panels:
        return None
    limits = score_limits(rows)
    drawn = [
        _panel(points, rows, limits, title, None if number else f"{metric}, %, with 95% intervals")
        for number, (title, points) in enumerate(panels.items())
    ]
    return specification(alt.hconcat(*drawn, title=f"{task}: quality against cost"))


def front(points: list[tuple[float, float]]) -> list[int]:
    """Return the indices of the `points`, each a cost and a score, that score more than every cheaper one.

    They are ordered from the cheapest on; of equal costs the best score counts, of equal points the first.
    """
    members = []
    best = float("-inf")
    for index in sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1])):
        if points[index][1] > best:
            members.append(index)
            best = points[index][1]
    return members


def _points(rows: list[DrawnRow], figure: Figure) -> list[_Point]:
    costs = [figure.value(row.row) for row in rows]
    return [(row, float(cost)) for row, cost in zip(rows, costs, strict=True) if cost and cost > 0]


def _panel(
    points: list[_Point], rows: list[DrawnRow], limits: Extent, cost: str, quality: str | None
) -> alt.LayerChart:
    """Draw `points` and the names of those on the front; `quality` is the title of the axis of scores, on the first panel only."""
    costs = Extent.of_logs([cost for _, cost in points], margin=0.12)
    x = alt.X("cost:Q", title=cost, scale=costs.scale, axis=costs.axis())
    y = alt.Y("score:Q", title=quality, scale=limits.scale, axis=alt.Axis(labels=quality is not None))
    colour, shape = family_encoding(rows)
    values = [{"cost": cost, **row.value} for row, cost in points]
    members = [points[index] for index in front([(cost, row.score) for row, cost in points])]
    steps = chart_of([{"cost": cost, "score": row.score} for row, cost in members])
    line = steps.mark_line(interpolate="step-after", strokeDash=[5, 4], strokeWidth=1.2, color=QUIET)
    return panel(
        line.encode(x=x, y=y),
        *interval_layers(values, limits, x, colour, strokeWidth=1.2, strokeOpacity=0.5),
        marks_layer(values, rows).encode(x=x, y=y, color=colour, shape=shape),
        _names(points, members, costs, limits),
        width=_WIDTH,
        height=_HEIGHT,
    )


def _names(points: list[_Point], members: list[_Point], costs: Extent, limits: Extent) -> alt.Chart:
    """Name the front's `members`, away from intervals and from the line that joins them if there is room."""

    def pixel(cost: float, score: float) -> tuple[float, float]:
        return _WIDTH * costs.share(cost), _HEIGHT * (1 - limits.share(score))

    lines = []
    for row, cost in points:
        if row.interval:
            (x, low), (_, high) = (pixel(cost, end) for end in row.interval)
            lines.append(Box(x, high, x, low))
    named = [(row.name, *pixel(cost, row.score)) for row, cost in members]
    for (_, left, low), (_, right, high) in pairwise(named):
        lines += [Box(left, low, right, low), Box(right, high, right, low)]
    marks = [pixel(cost, row.score) for row, cost in points]
    return names_layer(named, marks, lines, Box(0, 0, _WIDTH, _HEIGHT))
