"""The live page: a board's page that asks its server how the run is going."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from kdbench.board.html.content import no_content
from kdbench.board.html.page import LivePart, html_page
from kdbench.live.follow import Follow
from kdbench.live.server import Answer

STATE = "/state.json"
CONTENT = "/content.json"


def live_answers(follow: Follow, cache: Path) -> Mapping[str, Answer]:
    """Return all that the server of the live page serves.

    Args:
        follow: answers what the page asks.
        cache: a folder to keep the page's libraries in.

    Raises:
        UsageError: the cache cannot be written.
    """
    folder = files(__package__) / "web"
    markup, style, script = (
        (folder / f"live.{ending}").read_text(encoding="utf-8") for ending in ("html", "css", "js")
    )
    # The board itself comes by `CONTENT`, so that the page is made once.
    page = html_page(no_content("Leaderboard"), cache, LivePart(markup, style, script)).encode()
    return {
        "/": Answer("text/html", lambda: page),
        STATE: Answer("application/json", follow.state),
        CONTENT: Answer("application/json", follow.content),
    }
