"""Assemble the HTML page: markup, style, scripts and packed content."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import distribution, version
from importlib.resources import files
from pathlib import Path
from typing import Any

import altair as alt
import jinja2

from kdbench.utils.sealed import build_once

_PACKED = re.compile(r'(<script type="text/plain" id="(\w+)">)([^<]*)(</script>)')
_CONTENT = "content"


def packed(text: str) -> str:
    """Return `text` compressed and base64-encoded, free of markup, for ``unpacked`` of ``elements.js``."""
    return base64.b64encode(zlib.compress(text.encode(), level=9)).decode()


def laid_open(page: str) -> str:
    """Return a page of `html_page` as text to search: with its content unpacked, without its libraries.

    Any other text is returned unchanged.
    """
    return _PACKED.sub(_unpacked, page)


def _unpacked(part: re.Match[str]) -> str:
    start, name, encoded, end = part.groups()
    text = zlib.decompress(base64.b64decode(encoded)).decode() if name == _CONTENT else ""
    return f"{start}{text}{end}"


_BUNDLE = "vega.js"


def vega(cache: Path) -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, which sets ``window.vegaEmbed``.

    Bundling takes seconds, so the result is cached in the folder `cache`.

    Raises:
        UsageError: the cache cannot be written.
    """
    folder = cache / "javascript" / f"vl-convert-{version('vl-convert-python')}"
    return (build_once(folder, _bundle_vega) / _BUNDLE).read_text(encoding="utf-8")


def data_tables() -> str:
    """Return DataTables with jQuery as one module, whose default export is ``DataTable``; it is part of itables."""
    # Importing itables would load more than this file.
    bundle = distribution("itables").locate_file("itables/html/dt_bundle.js")
    return Path(str(bundle)).read_text(encoding="utf-8")


def _bundle_vega(folder: Path) -> None:
    import vl_convert

    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    (folder / _BUNDLE).write_text(script, encoding="utf-8")


DATA = "points"
"""The data set that the page fills: id, name, family, score, low, high (in percent), cost, texts for tooltips, whether
a point is on the front, and the offset of its name in pixels: dx, dy."""
_TOOLTIP = {"name": "strategy", "family": "family", "score_text": "score", "cost_text": "cost"}


def picture_specification(families: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return the Vega-Lite specification of the plot, given name, colour and shape of each family.

    The page sets data and axis titles; the line joins the points that the page marks as on the front.
    """
    names, colours, shapes = zip(*families, strict=True) if families else ((), (), ())
    marked = alt.param(name="marked", value=None)
    points = alt.Chart(alt.NamedData(name=DATA)).encode(
        x=alt.X(
            "cost:Q",
            scale=alt.Scale(type="log", nice=False, padding=24),
            axis=alt.Axis(format="~s", tickCount=6),
        ),
        y=alt.Y("score:Q", scale=alt.Scale(zero=False, padding=12)),
    )
    front = points.transform_filter("datum.front")
    faded = alt.condition("!isValid(marked) || datum.id === marked", alt.value(1), alt.value(0.25))
    dots = points.mark_point(
        filled=True, size=90, opacity=1, cursor="pointer", stroke="gray", strokeWidth=0.5
    ).encode(
        color=alt.Color("family:N", scale=alt.Scale(domain=names, range=colours), legend=None),
        shape=alt.Shape("family:N", scale=alt.Scale(domain=names, range=shapes), legend=None),
        opacity=faded,
        size=alt.condition("datum.id === marked", alt.value(260), alt.value(90)),
        tooltip=[alt.Tooltip(f"{field}:N", title=title) for field, title in _TOOLTIP.items()],
        description="description:N",
    )
    layers = [
        front.mark_line(
            interpolate="step-after", strokeDash=[5, 4], strokeWidth=1.5, color="gray", aria=False
        ),
        points.mark_rule(strokeWidth=1.2, color="gray", aria=False).encode(
            y="low:Q", y2="high:Q", opacity=faded
        ),
        dots,
        front.mark_text(
            align=alt.expr("datum.dx < 0 ? 'right' : 'left'"),
            dx=alt.expr("datum.dx"),
            dy=alt.expr("datum.dy"),
            fontSize=11,
            aria=False,
        ).encode(text="name:N"),
    ]
    chart = alt.layer(*layers).add_params(marked)
    chart = chart.properties(width="container", height=340, background="transparent")
    specification: dict[str, Any] = chart.to_dict()
    return specification


PAGE = "index.html"
_SCRIPTS = ("elements.js", "curves.js", "details.js", "picture.js", "tables.js", "main.js")
"""In the order of their dependencies."""


@dataclass(frozen=True)
class LivePart:
    """Additions to a page that polls its server for updates: trusted markup, not content."""

    markup: str
    """Inserted above the tabs."""
    style: str
    script: str
    """Runs last."""


def _digest(part: str) -> str:
    """Return how a content-security policy lists an inline script or style: by the hash of its text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}"


def html_page(content: dict[str, Any], cache: Path, live: LivePart | None = None) -> str:
    """Return the page that shows `content`; it is self-contained and may be opened from disk.

    All of `content`, which `page_content` returned, is shown as text: it is packed, without any character that markup
    consists of, and its policy lists the page's own script and style by their hashes. The bundled libraries are cached in the folder `cache`. A page with a `live` part may poll the server it
    came from, and no other.

    Raises:
        UsageError: the cache cannot be written.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["digest"] = _digest
    folder = files(__package__) / "web"
    names = ("page.html", "style.css", *_SCRIPTS)
    parts = {name: (folder / name).read_text(encoding="utf-8") for name in names}
    return environment.from_string(parts["page.html"]).render(
        title=content["title"],
        model=content["model"],
        packed={
            "content": packed(json.dumps(content, allow_nan=False, separators=(",", ":"))),
            "vega": packed(vega(cache)),
            "data_tables": packed(data_tables()),
        },
        specification=picture_specification(content["families"]),
        style=parts["style.css"] + (live.style if live else ""),
        script="\n".join([*(parts[name] for name in _SCRIPTS), *([live.script] if live else [])]),
        live=live,
    )
