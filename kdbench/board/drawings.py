"""What is drawn beside a board's tables when nothing more will change: the page for a browser, and the pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from kdbench.board.by_class import KnownByClass
from kdbench.board.loaded import Loaded
from kdbench.board.second_process import SecondProcess, parts

PAGE = "index.html"
_MANY = 20
"""Pictures; of fewer, a process costs more than it gains."""
_THERE = 0.55
"""The part of the pictures for the other process; this one has the page to write, too."""


def drawn_names(board: Path, drawn: Iterable[str]) -> frozenset[str]:
    """Return the paths of what pages may show: all that is `drawn` now, and what earlier drawings left in `board`."""
    earlier = [path for path in (board / PAGE, *board.glob("pictures/*.png")) if path.is_file()]
    return frozenset(drawn) | {path.relative_to(board).as_posix() for path in earlier}


def drawings(
    rows: pd.DataFrame,
    across: pd.DataFrame,
    loaded: Loaded,
    results: Path,
    cache: Path,
    known: KnownByClass,
    second: SecondProcess,
) -> dict[str, str | bytes]:
    """Return ``index.html`` and the files of ``pictures/``, by their paths in the board's folder.

    Args:
        rows: the table of rows.
        across: the table over all tasks.
        loaded: the cells that they aggregate, their records and timings.
        results: the folder with their predictions and logs.
        cache: a folder to keep the page's libraries in.
        known: what the answers of rows were found to show before; gets what is found now.
        second: draws a half of many pictures.

    Raises:
        UsageError: the cache cannot be written.
    """
    # Each loads libraries that tables need not wait for.
    from kdbench.board.html.content import page_content
    from kdbench.board.html.page import html_page
    from kdbench.board.pictures.all import draw, planned

    pictures = planned(rows, loaded)
    here, there = parts(pictures, _THERE if len(pictures) >= _MANY else 0)
    asked = second.ask(draw, there) if there else None
    page = html_page(page_content(rows, across, loaded, results, known), cache)
    drawn = draw(here) if asked is None else draw(here) | asked.result()
    return {PAGE: page, **drawn}
