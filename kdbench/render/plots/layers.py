"""Build the layers that several plots share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt

from kdbench.render.palette import Look
from kdbench.render.plots.axes import Extent
from kdbench.render.plots.names import Box, Name, place_names, square_around, text_widths
from kdbench.render.plots.rows import DrawnRow, Value

QUIET = "#6b7480"
MARK = 80.0
"""A point's area in square pixels."""
NAME_SIZE = 11


def interval_layers(
    values: Iterable[Value], limits: Extent, across: alt.X | alt.Y, colour: alt.Color, **style: Any
) -> list[alt.Chart]:
    """Return layers with the interval of each of `values` that has one, as lines in `style`.

    An interval beyond `limits`, the axis of scores, ends there in an arrow. `across` is the other axis.
    """
    is_vertical = isinstance(across, alt.X)
    along, other = ("y", "x") if is_vertical else ("x", "y")
    known = [value for value in values if value.get("low") is not None and value.get("high") is not None]
    clipped = [
        {**value, "low": max(value["low"], limits.low), "high": min(value["high"], limits.high)}
        for value in known
    ]
    lines = chart_of(clipped).mark_rule(**style)
    layers = [lines.encode(**{along: "low:Q", f"{along}2": "high:Q", other: across, "color": colour})]
    below, above = ("down", "up") if is_vertical else ("left", "right")
    cut = [(below, limits.low, [value for value in known if value["low"] < limits.low])]
    cut += [(above, limits.high, [value for value in known if value["high"] > limits.high])]
    for direction, end, beyond in cut:
        if beyond:
            arrows = chart_of([{**value, "end": end} for value in beyond])
            arrows = arrows.mark_point(shape=f"triangle-{direction}", filled=True, size=30, opacity=1)
            layers.append(arrows.encode(**{along: "end:Q", other: across, "color": colour}))
    return layers


def panel(*layers: alt.Chart, width: float, height: float, title: str = "") -> alt.LayerChart:
    """Return a panel of `layers`, each drawn on top of the previous ones; width and height are in pixels."""
    return alt.LayerChart(layer=list(layers), width=width, height=height, title=title or alt.Undefined)


def chart_of(values: Iterable[Mapping[str, Any]]) -> alt.Chart:
    """Return a chart of `values`, without a mark."""
    # As text, which Altair passes on; it copies lists value by value, which takes longer than drawing.
    return alt.Chart(alt.InlineData(values=json.dumps(list(values)), format=alt.JsonDataFormat(type="json")))


def family_encoding(rows: Sequence[DrawnRow]) -> tuple[alt.Color, alt.Shape]:
    """Return colour and shape by the family of `rows`, with a legend."""
    looks = {row.family: row.look for row in sorted(rows, key=lambda row: row.family)}
    return look_encoding("family", looks)


def look_encoding(field: str, looks: Mapping[str, Look]) -> tuple[alt.Color, alt.Shape]:
    """Return colour and shape by `field`, whose values are the keys of `looks`, with a legend."""
    names, legend = list(looks), alt.Legend(columns=min(len(looks), 4))
    colours = alt.Scale(domain=names, range=[look.colour for look in looks.values()])
    shapes = alt.Scale(domain=names, range=[look.shape for look in looks.values()])
    return (
        alt.Color(f"{field}:N", scale=colours, legend=legend),
        alt.Shape(f"{field}:N", scale=shapes, legend=legend),
    )


def marks_layer(
    values: Iterable[Value], rows: Iterable[DrawnRow], size: float = MARK, opacity: float = 1
) -> alt.Chart:
    """Return a layer, without axes, that marks each of `values` in the look of its family.

    Families are drawn on top of each other in the order of `rows`, so that a small one is not hidden by a large one.
    """
    order = list(dict.fromkeys(row.family for row in rows))
    ordered = sorted(values, key=lambda value: order.index(value["family"]))
    layer: alt.Chart = chart_of(ordered).mark_point(filled=True, size=size, opacity=1, fillOpacity=opacity)
    return layer


def names_layer(
    named: Sequence[tuple[str, float, float]],
    marks: Iterable[tuple[float, float]],
    lines: Sequence[Box],
    panel: Box,
) -> alt.Chart:
    """Return a layer with names of points, where there is room; all is in pixels.

    `marks` are all points of the panel, not only those `named`; names avoid `lines`.
    """
    widths = text_widths([text for text, _, _ in named], NAME_SIZE)
    offsets = place_names(
        [Name(x, y, width, NAME_SIZE) for (_, x, y), width in zip(named, widths, strict=True)],
        [square_around(x, y, MARK**0.5 / 2) for x, y in marks],
        lines,
        panel,
    )
    values = [
        {"text": text, "x": x + offset.dx, "y": y + offset.dy, "left": offset.dx < 0}
        for (text, x, y), offset in zip(named, offsets, strict=True)
        if offset is not None
    ]
    layer: alt.Chart = chart_of(values).mark_text(
        fontSize=NAME_SIZE, baseline="alphabetic", align=alt.expr("datum.left ? 'right' : 'left'")
    )
    x, y = alt.X("x:Q", scale=None, axis=None), alt.Y("y:Q", scale=None, axis=None)
    return layer.encode(text="text:N", x=x, y=y)


def note(text: str, x: Any, **style: Any) -> alt.Chart:
    """Return a layer with `text` right above its panel, at `x` of the horizontal axis."""
    look = {"color": QUIET, "fontSize": 9.5, "dy": -9, **style}
    layer: alt.Chart = chart_of([{}]).mark_text(text=text, **look)
    return layer.encode(x=x, y=alt.value(0))
