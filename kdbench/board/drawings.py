"""What is drawn beside a board's tables when nothing more will change: the page for a browser, and the pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from kdbench.board.diagnostics import KnownByClass
from kdbench.board.load import Loaded
from kdbench.board.parallel import SecondProcess, Shared

if TYPE_CHECKING:
    from kdbench.board.pictures.all import Picture

PAGE = "index.html"


def drawn_names(board: Path, drawn: Iterable[str]) -> frozenset[str]:
    """Return the paths of what pages may show: all that is `drawn` now, and what earlier drawings left in `board`."""
    earlier = [path for path in (board / PAGE, *board.glob("pictures/*.png")) if path.is_file()]
    return frozenset(drawn) | {path.relative_to(board).as_posix() for path in earlier}


def begun_pictures(
    rows: pd.DataFrame, loaded: Loaded, second: SecondProcess
) -> Shared[Picture, dict[str, bytes]]:
    """Have the files of ``pictures/`` drawn by `second` until their results are asked for, and then here, too.

    Args:
        rows: the table of rows.
        loaded: the cells that it aggregates, their records and timings.
        second: begins at once.
    """
    from kdbench.board.pictures.all import draw, planned  # loads what tables need not wait for

    return second.share(draw, planned(rows, loaded))


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
    from kdbench.board.html.content import page_content  # loads what tables need not wait for
    from kdbench.board.html.page import html_page

    return html_page(page_content(rows, across, loaded, results, known), cache)
