"""Place names beside their points without covering marks, other names or the frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from math import hypot
from typing import Any, NamedTuple

import vl_convert

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""The first font comes with the renderer, so that plots are identical everywhere; the others have the same widths."""
WIDER = 1.17
"""The factor by which text may be wider in DejaVu Sans, which an SVG viewer may use instead."""


class Box(NamedTuple):
    """A rectangle in pixels, y downwards; a horizontal or vertical line has no height or no width."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Return whether the two share more than an edge."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def within(self, other: Box) -> bool:
        """Return whether this box lies inside the other."""
        return (
            other.left <= self.left
            and self.right <= other.right
            and other.top <= self.top
            and self.bottom <= other.bottom
        )

    def padded(self, by: float) -> Box:
        """Return the box enlarged by `by` on each side."""
        return Box(self.left - by, self.top - by, self.right + by, self.bottom + by)


def square_around(x: float, y: float, half: float) -> Box:
    """Return the square of side 2 x `half` centred at (x, y)."""
    return Box(x, y, x, y).padded(half)


class Name(NamedTuple):
    """A name to place: its point in pixels, the width of the text and the font size."""

    x: float
    y: float
    width: float
    size: float

    def at(self, offset: Offset) -> Box:
        """Return the box that the text covers at `offset`."""
        left = self.x + offset.dx - (self.width if offset.dx < 0 else 0)
        line = self.y + offset.dy
        return Box(left, line - 0.76 * self.size, left + self.width, line + 0.22 * self.size)


class Offset(NamedTuple):
    """The offset of a text from its point: to its start (or to its end, if left of the point) and to its baseline."""

    dx: float
    dy: float

    @property
    def distance(self) -> float:
        """The distance of the text from its best position, half a line above its point and to the right."""
        lifted = -self.dy - _NEAR if self.dy < 0 else self.dy - 2 * _NEAR
        return abs(lifted) + (self.dx < 0) + (self.dy > 0)


_NEAR = 6.0
_OFFSETS = sorted(
    (Offset(dx, dy) for dx, dy in product((_NEAR, -_NEAR), range(-60, 73, 2))),
    key=lambda offset: offset.distance,
)
_OUTSIDE, _MISLEADS, _CROSSES = 1000.0, 15.0, 5.0
"""Penalties, in pixels of distance."""
_ROOM = 2.0


def place_names(
    names: Iterable[Name], marks: Iterable[Box], lines: Sequence[Box], panel: Box
) -> list[Offset | None]:
    """Return the offset of each name, in order: near its point, clear of marks and of the names before it.

    The nearest position wins, with penalties for being nearer to another point and for crossing `lines`; None if there
    is no room. Names leave the panel only if necessary, and never to the left or downwards, where the axes are.
    """
    marks = list(marks)
    infinity = float("inf")
    axes = (Box(-infinity, -infinity, panel.left, infinity), Box(-infinity, panel.bottom, infinity, infinity))
    taken = [*marks, *axes]
    placed: list[Offset | None] = []
    for name in names:
        best: tuple[float, Offset | None] = (infinity, None)
        for offset in _OFFSETS:
            if offset.distance >= best[0]:
                break  # all others are further away
            box = name.at(offset)
            cost = offset.distance + _OUTSIDE * (not box.within(panel))
            if cost >= best[0] or any(box.overlaps(other) for other in taken):
                continue
            cost += _CROSSES * sum(box.overlaps(line) for line in lines)
            cost += _MISLEADS * _misleads(name, offset, marks)
            best = min(best, (cost, offset), key=lambda candidate: candidate[0])
        chosen = best[1]
        if chosen is not None:
            taken.append(name.at(chosen).padded(_ROOM))
        placed.append(chosen)
    return placed


def _misleads(name: Name, offset: Offset, marks: Iterable[Box]) -> bool:
    """Return whether the end of the name next to its point is nearer to another point."""
    x, y = name.x + offset.dx, name.y + offset.dy - name.size / 3
    own = hypot(x - name.x, y - name.y)
    return any(
        hypot(x - (mark.left + mark.right) / 2, y - (mark.top + mark.bottom) / 2) < own - 1 for mark in marks
    )


def text_widths(texts: Sequence[str], size: float) -> list[float]:
    """Return the widths of `texts` in pixels: as the renderer measures them, times `WIDER`."""
    # Marks derived from marks know their bounds: the only way to get these from Vega.
    written: dict[str, Any] = {
        "text": {"field": "text"},
        "fontSize": {"value": size},
        "font": {"value": FONT},
    }
    across = {"x": {"field": "bounds.x1"}, "x2": {"field": "bounds.x2"}}
    scene = vl_convert.vega_to_scenegraph(
        {
            "$schema": "https://vega.github.io/schema/vega/v6.json",
            "data": [{"name": "texts", "values": [{"text": text} for text in texts]}],
            "marks": [
                {"type": "text", "name": "written", "from": {"data": "texts"}, "encode": {"enter": written}},
                {"type": "rect", "from": {"data": "written"}, "encode": {"enter": across}},
            ],
        }
    )
    assert isinstance(scene, dict)
    _, boxes = scene["scenegraph"]["items"][0]["items"]
    return [WIDER * box["width"] for box in boxes["items"]]
