"""Place names beside their points, so that none covers a mark, another name or the frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from math import hypot
from typing import Any, NamedTuple

import vl_convert

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""The first comes with the renderer, so that a picture has the same pixels everywhere; the others are as wide."""
WIDER = 1.17
"""Up to so many times as wide a name is in DejaVu Sans, which a reader of an SVG may have instead."""


class Box(NamedTuple):
    """A rectangle in pixels, y downwards; a line that runs along an axis has no width or no height."""

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
        """Return whether nothing of this reaches beyond the other."""
        return (
            other.left <= self.left
            and self.right <= other.right
            and other.top <= self.top
            and self.bottom <= other.bottom
        )

    def padded(self, by: float) -> Box:
        """Return the box with so much room around it."""
        return Box(self.left - by, self.top - by, self.right + by, self.bottom + by)


def around(x: float, y: float, half: float) -> Box:
    """Return the square whose middle is (x, y)."""
    return Box(x, y, x, y).padded(half)


class Name(NamedTuple):
    """A name to be placed: the point that it names, in pixels, the text's width and its font's size."""

    x: float
    y: float
    width: float
    size: float

    def at(self, offset: Offset) -> Box:
        """Return what the text covers there."""
        left = self.x + offset.dx - (self.width if offset.dx < 0 else 0)
        line = self.y + offset.dy
        return Box(left, line - 0.76 * self.size, left + self.width, line + 0.22 * self.size)


class Offset(NamedTuple):
    """From a point to the text's start (or, to the left of it, its end) and the line that its letters stand on."""

    dx: float
    dy: float

    @property
    def distance(self) -> float:
        """How far the text is from where it reads best, half a line above its point and to the right."""
        lifted = -self.dy - _NEAR if self.dy < 0 else self.dy - 2 * _NEAR
        return abs(lifted) + (self.dx < 0) + (self.dy > 0)


_NEAR = 6.0
_OFFSETS = sorted(
    (Offset(dx, dy) for dx, dy in product((_NEAR, -_NEAR), range(-60, 73, 2))),
    key=lambda offset: offset.distance,
)
_OUTSIDE, _MISLEADS, _CROSSES = 1000.0, 15.0, 5.0
"""As bad as to be so many pixels further away."""
_ROOM = 2.0


def place_names(
    names: Iterable[Name], marks: Iterable[Box], lines: Sequence[Box], panel: Box
) -> list[Offset | None]:
    """Return where each name stands, in their order: near its point, clear of marks and of the names before it.

    The nearest place counts, but for one that is nearer to another point or crosses lines; None where there is no room.

    Args:
        names: of points in one panel.
        marks: what no name may cover.
        lines: what a name had better not cross.
        panel: what a name leaves only where it has to, and not to the left or downwards, where the axes are.
    """
    marks = list(marks)
    endless = float("inf")
    axes = (Box(-endless, -endless, panel.left, endless), Box(-endless, panel.bottom, endless, endless))
    taken = [*marks, *axes]
    placed: list[Offset | None] = []
    for name in names:
        best: tuple[float, Offset | None] = (endless, None)
        for offset in _OFFSETS:
            if offset.distance >= best[0]:
                break  # all others are further away
            box = name.at(offset)
            cost = offset.distance + _OUTSIDE * (not box.within(panel))
            if cost >= best[0] or any(box.overlaps(other) for other in taken):
                continue
            cost += _CROSSES * sum(box.overlaps(line) for line in lines)
            cost += _MISLEADS * _misleads(name, offset, marks)
            best = min(best, (cost, offset), key=lambda found: found[0])
        where = best[1]
        if where is not None:
            taken.append(name.at(where).padded(_ROOM))
        placed.append(where)
    return placed


def _misleads(name: Name, offset: Offset, marks: Iterable[Box]) -> bool:
    """Return whether the end of the name that should be near its own point is nearer to another's."""
    x, y = name.x + offset.dx, name.y + offset.dy - name.size / 3
    own = hypot(x - name.x, y - name.y)
    return any(
        hypot(x - (mark.left + mark.right) / 2, y - (mark.top + mark.bottom) / 2) < own - 1 for mark in marks
    )


def text_widths(texts: Sequence[str], size: float) -> list[float]:
    """Return how many pixels wide each of `texts` is, as the renderer measures it, or wider in a reader's own font."""
    # Marks made from marks know the extent of these: the one way to have Vega tell it.
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
