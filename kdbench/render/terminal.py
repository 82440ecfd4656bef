"""Render a board for the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from kdbench.board.figures import FIGURES, best_rows
from kdbench.board.frames import rows_of
from kdbench.board.rows import has_score
from kdbench.render.notes import ONE_SEED, is_of_one_seed
from kdbench.utils.formatting import on_one_line

_REASON_LENGTH = 200
_LEGEND = " ".join(f"{FIGURES[name].terminal}: {FIGURES[name].note}" for name in ("rank", "front"))


def plain_table(
    headings: Iterable[tuple[str, bool]],
    *,
    title: str = "",
    caption: str = "",
    min_width: int | None = None,
    **numbers: Any,
) -> Table:
    """Return a table without rows; add `Text` objects: rich would read square brackets in a string as markup.

    Args:
        headings: the heading of each column, and whether the column is text.
        title: shown above the table.
        caption: shown below the table.
        min_width: the least characters in columns of text.
        numbers: rich's options for all other columns.
    """
    table = Table(
        title=Text(title) if title else None,
        title_justify="left",
        caption=Text(caption) if caption else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for heading, is_text in headings:
        if is_text:
            table.add_column(Text(heading), overflow="fold", min_width=min_width)
        else:
            table.add_column(Text(heading), justify="right", **numbers)
    return table


def render_terminal(rows: pd.DataFrame) -> list[Table]:
    """Return one table per task of the table of rows, readable at 100 columns; reasons and warnings are in the caption."""
    return [_table(str(task), part) for task, part in rows.groupby("task")]


def _table(task: str, rows: pd.DataFrame) -> Table:
    lines = rows_of(rows)
    figures = [figure for figure in FIGURES.values() if figure.terminal]
    best = [best_rows(figure, lines) for figure in figures]
    remarks = [
        on_one_line(f"{row['strategy']}: {remark}", _REASON_LENGTH)
        for row in lines
        for remark in (None if has_score(row) else row["reason"], row["warnings"], row["latency_note"])
        if remark
    ]
    metric = on_one_line(lines[0]["metric"])
    table = plain_table(
        [(metric if figure.name == "score" else figure.terminal, figure.is_text) for figure in figures],
        title=f"{on_one_line(task)}. {ONE_SEED}" if is_of_one_seed(rows) else on_one_line(task),
        caption="\n".join([_LEGEND, *remarks]),
        min_width=12,
        no_wrap=True,
    )
    for place, row in enumerate(lines):
        texts = [_with_line_breaks(figure.text(row, is_brief=True), figure.is_text) for figure in figures]
        styles = ["bold" if place in bold else "" for bold in best]
        table.add_row(*map(Text, texts, styles))
    return table


def _with_line_breaks(text: str, is_text: bool) -> str:
    """Return `text` with spaces where the long name of a row may wrap."""
    return on_one_line(text.replace("[", " [").replace(",", ", ") if is_text else text)
