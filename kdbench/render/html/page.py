"""The page itself: markup, style and scripts around its content."""

from __future__ import annotations

import base64
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
import pandas as pd

from kdbench.board.diagnostics import KnownByClass
from kdbench.board.load import Loaded
from kdbench.utils.files import build_once

_PACKED = re.compile(r'(<script type="text/plain" id="(\w+)">)([^<]*)(</script>)')
_CONTENT = "content"


def packed(text: str) -> str:
    """Return `text` as ``unpacked`` of ``elements.js`` reads it: compressed, in letters that no markup is made of."""
    return base64.b64encode(zlib.compress(text.encode(), level=9)).decode()


def laid_open(page: str) -> str:
    """Return a page with its content as it was before it was packed, and without its libraries.

    Whoever looks for a word must look for it there; in packed letters it would stand by chance or not at all.

    Args:
        page: what `html_page` returned, or any other text, which comes back as it is.
    """
    return _PACKED.sub(_opened, page)


def _opened(part: re.Match[str]) -> str:
    start, name, letters, end = part.groups()
    text = zlib.decompress(base64.b64decode(letters)).decode() if name == _CONTENT else ""
    return f"{start}{text}{end}"


_BUNDLE = "vega.js"


def vega(cache: Path) -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, which sets ``window.vegaEmbed``.

    Putting it together takes seconds, so that it is kept in the folder `cache`.

    Raises:
        UsageError: the cache cannot be written.
    """
    folder = cache / "javascript" / f"vl-convert-{version('vl-convert-python')}"
    return (build_once(folder, _bundle_vega) / _BUNDLE).read_text(encoding="utf-8")


def data_tables() -> str:
    """Return DataTables with jQuery as one module, whose default export is ``DataTable``; itables brings it."""
    # Importing itables would load more than its file.
    return Path(str(distribution("itables").locate_file("itables/html/dt_bundle.js"))).read_text(
        encoding="utf-8"
    )


def _bundle_vega(folder: Path) -> None:
    import vl_convert

    (folder / _BUNDLE).write_text(
        vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"), encoding="utf-8"
    )


DATA = "points"
"""The page fills this table: id, name, family, score, low, high (in percent), cost, texts to tell, whether a point is on
the front, and how many pixels from it its name stands there: dx, dy."""
_HEIGHT = 340
_FADED = 0.25


def picture_specification(families: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return the specification of a picture whose data the page sets, and whose axes it names.

    The line joins the points that the page says to be on the front.

    Args:
        families: the name, the colour and the shape of each.
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
    faded = alt.condition("!isValid(marked) || datum.id === marked", alt.value(1), alt.value(_FADED))
    dots = points.mark_point(
        filled=True, size=90, opacity=1, cursor="pointer", stroke="gray", strokeWidth=0.5
    ).encode(
        color=alt.Color("family:N", scale=alt.Scale(domain=names, range=colours), legend=None),
        shape=alt.Shape("family:N", scale=alt.Scale(domain=names, range=shapes), legend=None),
        opacity=faded,
        size=alt.condition("datum.id === marked", alt.value(260), alt.value(90)),
        tooltip=[alt.Tooltip(f"{field}:N", title=title) for field, title in _TOOLTIP.items()],
        description="told:N",
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
    chart = (
        alt.layer(*layers)
        .add_params(marked)
        .properties(width="container", height=_HEIGHT, background="transparent")
    )
    specification: dict[str, Any] = chart.to_dict()
    return specification


_TOOLTIP = {"name": "strategy", "family": "family", "score_text": "score", "cost_text": "cost"}


_SCRIPTS = ("elements.js", "curves.js", "details.js", "picture.js", "tables.js", "main.js")
"""In the order in which each needs those before."""


@dataclass(frozen=True)
class LivePart:
    """What a page that asks its server for more has beside the board: trusted text, not content."""

    markup: str
    """Above the tabs."""
    style: str
    script: str
    """Runs last."""


def html_page(content: dict[str, Any], cache: Path, live: LivePart | None = None) -> str:
    """Return the page that shows `content`; it loads nothing and may be opened from disk.

    Whatever `content` says is shown as text: it reaches the page packed, without a character that markup is made of.

    Args:
        content: what `page_content` returned.
        cache: a folder to keep the bundled libraries in.
        live: with it, the page may ask the server that it came from, and no other.

    Raises:
        UsageError: the cache cannot be written.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    folder = files(__package__) / "web"
    parts = {
        name: (folder / name).read_text(encoding="utf-8") for name in ("page.html", "style.css", *_SCRIPTS)
    }
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


PAGE = "index.html"


def page(
    rows: pd.DataFrame, across: pd.DataFrame, loaded: Loaded, results: Path, cache: Path, known: KnownByClass
) -> str:
    """Return ``index.html``.

    Args:
        rows: the table of rows.
        across: the table over all tasks.
        loaded: the cells that they aggregate, their records and timings.
        results: the folder with their predictions and logs.
        cache: a folder to keep the page's libraries in.
        known: what the answers of rows were found to show before; gets what is found now.

    Raises:
        UsageError: the cache cannot be written.
    """
    from kdbench.render.html.content import page_content

    return html_page(page_content(rows, across, loaded, results, known), cache)
