"""Render a plot as SVG for print and as PNG for code hosts."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import altair as alt
import vl_convert

from kdbench.render.plots.axes import LABEL_SIZE
from kdbench.render.plots.layers import MARK
from kdbench.render.plots.names import FONT

Specification = dict[str, Any]
"""The Vega-Lite specification of one plot."""

_CONFIG: dict[str, Any] = {
    "aria": False,
    "axis": {
        "domainColor": "black",
        "gridColor": "#e3e6ea",
        "gridWidth": 0.8,
        "labelColor": "black",
        "labelFontSize": LABEL_SIZE,
        "labelLimit": 0,
        "labelOverlap": False,
        "tickColor": "black",
        "titleColor": "black",
        "titleFontSize": LABEL_SIZE,
        "titleFontWeight": "normal",
    },
    "background": "white",
    "concat": {"spacing": 20},
    "font": FONT,
    "legend": {
        "columnPadding": 24,
        "direction": "horizontal",
        "labelColor": "black",
        "labelFontSize": LABEL_SIZE,
        "labelLimit": 0,
        "layout": {"bottom": {"anchor": "middle"}},
        "offset": 14,
        "orient": "bottom",
        "symbolOpacity": 1,
        "symbolSize": MARK,
        "symbolStrokeWidth": 0,
        "title": None,
    },
    "title": {"anchor": "start", "color": "black", "fontSize": 13, "fontWeight": "normal", "frame": "group"},
    "view": {"stroke": None},
}
_SHARPNESS = 150 / 96
"""Pixels of a PNG per pixel of its SVG."""


def specification(chart: alt.LayerChart | alt.HConcatChart | alt.ConcatChart) -> Specification:
    """Return the specification of `chart` without the theme of the user's Altair settings."""
    result: Specification = chart.to_dict()
    result.pop("config", None)
    return result


def as_files(name: str, drawn: Specification) -> dict[str, bytes]:
    """Return the plot as ``<name>.svg`` and ``<name>.png``."""
    svg = vl_convert.vegalite_to_svg(drawn, config=_CONFIG)
    png = vl_convert.svg_to_png(svg, scale=_SHARPNESS)
    return {f"{name}.svg": svg.encode(), f"{name}.png": _recompressed(png)}


def _recompressed(png: bytes) -> bytes:
    """Return the same image in a third of the bytes: the renderer favours speed over compression."""
    start, at, chunks = 8, 8, []
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        chunks.append(png[at : at + length + 12])
        at += length + 12
    pixels = b"".join(chunk[8:-4] for chunk in chunks if chunk[4:8] == b"IDAT")
    body = b"IDAT" + zlib.compress(zlib.decompress(pixels))
    packed = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    *kept, end = (chunk for chunk in chunks if chunk[4:8] != b"IDAT")
    return b"".join([png[:start], *kept, packed, end])
