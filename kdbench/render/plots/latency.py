"""Plot latency against text length, one line per row."""

from __future__ import annotations

from itertools import pairwise

import altair as alt

from kdbench.render.plots.axes import Extent
from kdbench.render.plots.files import Specification, specification
from kdbench.render.plots.layers import chart_of, family_encoding, marks_layer, names_layer, note, panel
from kdbench.render.plots.names import Box
from kdbench.render.plots.rows import DrawnRow
from kdbench.results.timings import ModelTiming

Line = list[tuple[float, float]]
"""Word pieces and median milliseconds, by ascending length."""
_WIDTH, _HEIGHT = 320, 320
"""The size of a panel in pixels."""


def latency_picture(task: str, rows: list[DrawnRow], timings: dict[str, ModelTiming]) -> Specification | None:
    """Return a panel per batch size that was timed at two or more lengths; None if there is none.

    `timings` are by the key of their cell.
    """
    lines = {row.name: _lines(timings[row.key]) for row in rows if row.key is not None and row.key in timings}
    drawn = [row for row in rows if lines.get(row.name)]
    sizes = sorted({size for row in drawn for size in lines[row.name]})
    if not sizes:
        return None
    panels: list[alt.LayerChart] = []
    for size in sizes:
        own = [(row, lines[row.name][size]) for row in drawn if size in lines[row.name]]
        panels.append(_panel(size, own, drawn, None if panels else "median of a call, ms"))
    return specification(alt.hconcat(*panels, title=f"{task}: latency by length; the teacher in black"))


def _lines(timing: ModelTiming) -> dict[int, Line]:
    """Return the lines by batch size, in the artifact's native back end."""
    lines: dict[int, Line] = {}
    for point in timing.back_ends[0].points:
        if point.length is not None and point.p50_ms is not None:
            lines.setdefault(point.batch_size, []).append((point.length, point.p50_ms))
    return {size: sorted(line) for size, line in lines.items() if len(line) > 1}


def _panel(
    size: int, own: list[tuple[DrawnRow, Line]], drawn: list[DrawnRow], title: str | None
) -> alt.LayerChart:
    """Draw the line of each row in `own`, the teacher's on top, and name some.

    The families of `drawn`, the rows of all panels, are in the legend; `title` is that of the vertical axis.
    """
    lengths = Extent.of_logs([length for _, line in own for length, _ in line], margin=0.05)
    times = Extent.of_logs([time for _, line in own for _, time in line], margin=0.05, above=0.12)
    marked = sorted({length for _, line in own for length, _ in line})
    ticks = alt.Axis(values=marked, format="d")
    x = alt.X("length:Q", title="word pieces per text", scale=lengths.scale, axis=ticks)
    y = alt.Y("ms:Q", title=title, scale=times.scale, axis=times.axis())
    colour, shape = family_encoding(drawn)
    layers: list[alt.Chart] = []
    for teacher in (False, True):
        values = [
            {"name": row.name, "family": row.family, "length": length, "ms": time}
            for row, line in own
            if row.row["is_teacher"] == teacher
            for length, time in line
        ]
        if not values:
            continue
        paint = alt.value("black") if teacher else colour
        opacity = 1.0 if teacher else 0.75
        lines = chart_of(values).mark_line(strokeWidth=2.4 if teacher else 1.3, strokeOpacity=opacity)
        layers += [
            lines.encode(x=x, y=y, color=paint, detail="name:N"),
            marks_layer(values, drawn, size=36, opacity=opacity).encode(x=x, y=y, color=paint, shape=shape),
        ]
    # Not Vega's title, which moves up if the topmost tick is near.
    heading = note(f"batch of {size}", alt.value(0), align="left", fontSize=13, color="black")
    return panel(*layers, _names(own, lengths, times), heading, width=_WIDTH, height=_HEIGHT)


def _names(own: list[tuple[DrawnRow, Line]], lengths: Extent, times: Extent) -> alt.Chart:
    """Name the fastest row, the slowest and the teacher at the end of their lines."""

    def pixel(length: float, time: float) -> tuple[float, float]:
        return _WIDTH * lengths.share(length), _HEIGHT * (1 - times.share(time))

    pixels = {row.name: [pixel(*point) for point in line] for row, line in own}
    ordered = sorted(own, key=lambda drawn: drawn[1][-1][1])
    named = [drawn for drawn in ordered if drawn in (ordered[0], ordered[-1]) or drawn[0].row["is_teacher"]]
    segments = [segment for line in pixels.values() for segment in pairwise(line)]
    return names_layer(
        [(row.name, *pixels[row.name][-1]) for row, _ in named],
        [point for line in pixels.values() for point in line],
        [box for start, end in segments for box in _boxes_along(start, end)],
        Box(0, 0, _WIDTH, _HEIGHT),
    )


_PIECES = 16


def _boxes_along(start: tuple[float, float], end: tuple[float, float]) -> list[Box]:
    """Return boxes that closely cover the line between two points."""
    (x, y), (to_x, to_y) = start, end
    ends = [(x + (to_x - x) * i / _PIECES, y + (to_y - y) * i / _PIECES) for i in range(_PIECES + 1)]
    return [Box(left, min(high, low), right, max(high, low)) for (left, high), (right, low) in pairwise(ends)]
