"""Draw lines with their names at the ends: a panel per family, with all other rows in grey behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from kdbench.render.palette import LINE_COLOURS
from kdbench.render.plots.axes import Extent
from kdbench.render.plots.files import Specification, specification
from kdbench.render.plots.layers import NAME_SIZE, chart_of, note, panel
from kdbench.render.plots.names import text_widths

WIDTH, HEIGHT = 300, 250
"""The size of a panel in pixels, without names."""
_GAP = NAME_SIZE + 2.0
"""The least distance of two names, in pixels."""
_LEAD = 16.0
"""The length of the line from the frame to a name, in pixels."""
_BEHIND = "#d3d7dd"
_ROOM = 0.06
"""Free shares of the axis of scores."""


@dataclass(frozen=True)
class LinePoint:
    """One point of a line, in the units of the axes."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    """The ends of its interval."""


@dataclass(frozen=True)
class Line:
    """One row's line, with two or more points from left to right."""

    name: str
    family: str
    points: tuple[LinePoint, ...]
    is_teacher: bool = False


def score_extent(lines: Iterable[Line]) -> Extent:
    """Return the axis of the scores of `lines`; an interval extends it by at most a quarter of their range per side."""
    points = [point for line in lines for point in line.points]
    low, high = min(point.y for point in points), max(point.y for point in points)
    room = max(0.25 * (high - low), 1.0)
    ends = [end for point in points for end in (point.low, point.high) if end is not None]
    low, high = max(min([low, *ends]), low - room), min(max([high, *ends]), high + room)
    margin = _ROOM * (high - low) or 1.0  # of equal scores without intervals
    return Extent(low - margin, high + margin)


def family_panel(
    family: str, lines: Sequence[Line], x: alt.X, xs: Extent, ys: Extent, y_title: str | None
) -> alt.LayerChart:
    """Return the panel of `family`, out of all `lines`: those of the family in colour, the teacher's in black.

    Args:
        x: the horizontal axis, of the field ``x``.
        xs: its ends.
        ys: the ends of the axis of scores.
        y_title: its title; None on panels that do not need one.
    """
    own = [line for line in lines if line.family == family and not line.is_teacher]
    teachers = [line for line in lines if line.is_teacher]
    others = [line for line in lines if line not in own and line not in teachers]
    looks = _looks(own, teachers)
    y = alt.Y("y:Q", title=y_title, scale=ys.scale, axis=alt.Axis(tickCount=6))
    named = [*teachers, *own]
    layers = [
        *([_strokes(others, x, y, strokeWidth=1, color=_BEHIND)] if others else []),
        *(
            _band(line, looks[line.name]["color"], x, ys)
            for line in named
            if line.family == family and line.points[0].low is not None
        ),
    ]
    for line in named:
        style = looks[line.name]
        width = 2.2 if line.is_teacher else 1.8
        layers += [
            _strokes([line], x, y, strokeWidth=width, **style),
            _dots(line, style["color"], x, y),
        ]
    heading = note(family, alt.value(0), align="left", fontSize=13, color="black")
    return panel(*layers, *_end_names(named, looks, xs, ys), heading, width=WIDTH, height=HEIGHT)


def _looks(own: Sequence[Line], teachers: Sequence[Line]) -> dict[str, dict[str, Any]]:
    """Return the colour of each line by name; those that repeat a colour are dashed."""
    looks: dict[str, dict[str, Any]] = {line.name: {"color": "black"} for line in teachers}
    for number, line in enumerate(sorted(own, key=lambda line: line.name)):
        turn, place = divmod(number, len(LINE_COLOURS))
        looks[line.name] = {"color": LINE_COLOURS[place], **({"strokeDash": [5, 3]} if turn else {})}
    return looks


def _values(line: Line) -> list[dict[str, object]]:
    return [{"name": line.name, "x": point.x, "y": point.y} for point in line.points]


def _strokes(lines: Iterable[Line], x: alt.X, y: alt.Y, **style: Any) -> alt.Chart:
    drawn = chart_of([value for line in lines for value in _values(line)]).mark_line(**style)
    layer: alt.Chart = drawn.encode(x=x, y=y, detail="name:N")
    return layer


def _dots(line: Line, colour: str, x: alt.X, y: alt.Y) -> alt.Chart:
    marks = chart_of(_values(line)).mark_point(filled=True, size=22, opacity=1, color=colour)
    layer: alt.Chart = marks.encode(x=x, y=y)
    return layer


def _band(line: Line, colour: str, x: alt.X, ys: Extent) -> alt.Chart:
    ends = [
        {"x": point.x, "low": max(point.low, ys.low), "high": min(point.high, ys.high)}
        for point in line.points
        if point.low is not None and point.high is not None
    ]
    area = chart_of(ends).mark_area(color=colour, opacity=0.13)
    layer: alt.Chart = area.encode(x=x, y=alt.Y("low:Q", scale=ys.scale), y2="high:Q")
    return layer


def _end_names(
    lines: Sequence[Line], looks: Mapping[str, Mapping[str, Any]], xs: Extent, ys: Extent
) -> list[alt.Chart]:
    """Return layers that name each line right of the panel, joined to its last point by a thin line."""
    ends = [
        (WIDTH * xs.share(line.points[-1].x), HEIGHT * (1 - ys.share(line.points[-1].y))) for line in lines
    ]
    heights = spread_out([y for _, y in ends], _GAP, HEIGHT)
    x, y = alt.X("x:Q", scale=None, axis=None), alt.Y("y:Q", scale=None, axis=None)
    # The picture is cut at what is drawn: an invisible point keeps the room that a name takes in a wider font.
    widest = max(text_widths([line.name for line in lines], NAME_SIZE))
    room = chart_of([{"x": WIDTH + _LEAD + 4 + widest, "y": 0}]).mark_point(size=1, opacity=0)
    layers: list[alt.Chart] = [room.encode(x=x, y=y)]
    for line, (end_x, end_y), height in zip(lines, ends, heights, strict=True):
        route = [(end_x + 3, end_y), (max(WIDTH, end_x + 3), end_y), (WIDTH + _LEAD, height)]
        lead = chart_of([{"x": left, "y": top, "order": place} for place, (left, top) in enumerate(route)])
        name = chart_of([{"name": line.name, "x": WIDTH + _LEAD + 4, "y": height}])
        layers += [
            lead.mark_line(strokeWidth=0.8, opacity=0.6, **looks[line.name]).encode(
                x=x, y=y, order="order:Q"
            ),
            name.mark_text(
                align="left", baseline="middle", fontSize=NAME_SIZE, color=looks[line.name]["color"]
            ).encode(x=x, y=y, text="name:N"),
        ]
    return layers


def panels_of(title: Sequence[str], panels: Sequence[alt.LayerChart], columns: int) -> Specification:
    """Return the picture of `panels`, row by row, below the lines of its `title`."""
    heading = alt.TitleParams(list(title), offset=16)
    return specification(alt.concat(*panels, columns=columns, title=heading))


def spread_out(heights: Sequence[float], gap: float, bottom: float) -> list[float]:
    """Return `heights` moved apart to at least `gap`, in their order from 0 to `bottom`.

    Names that want the same place share it around their mean. More names than fit extend below `bottom`.
    """
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    groups: list[
        list[float]
    ] = []  # of each run of touching names the wanted first place, summed, and their number
    for index in order:
        groups.append([heights[index], 1])
        while (
            len(groups) > 1
            and _top(groups[-1], gap, bottom) < _top(groups[-2], gap, bottom) + gap * groups[-2][1]
        ):
            wanted, number = groups.pop()
            groups[-1][0] += wanted - number * gap * groups[-1][1]
            groups[-1][1] += number
    placed = [0.0] * len(heights)
    places = iter(order)
    for group in groups:
        top = _top(group, gap, bottom)
        for step in range(int(group[1])):
            placed[next(places)] = top + step * gap
    return placed


def _top(group: list[float], gap: float, bottom: float) -> float:
    """Return the place of a group's first name: where the group as a whole wants it, within the panel."""
    wanted, number = group
    return max(0.0, min(wanted / number, bottom - (number - 1) * gap))
