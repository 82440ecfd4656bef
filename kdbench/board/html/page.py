"""The page itself: markup, style and scripts around its content."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from kdbench.board.html.libraries import data_tables, vega
from kdbench.board.html.packing import packed
from kdbench.board.html.picture import picture_specification

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
