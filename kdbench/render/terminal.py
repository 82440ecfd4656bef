"""Render a board for the terminal."""

from __future__ import annotations

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from kdbench.board.figures import FIGURES, best_rows
from kdbench.board.frames import rows_of
from kdbench.board.rows import has_score
from kdbench.utils.formatting import on_one_line

_REASON_LENGTH = 200
_LEGEND = " ".join(f"{FIGURES[name].terminal}: {FIGURES[name].note}" for name in ("rank", "front"))


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
    # Text objects: rich would read square brackets in a plain string as markup.
    table = Table(
        title=Text(on_one_line(task)),
        title_justify="left",
        caption=Text("\n".join([_LEGEND, *remarks])),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for figure in figures:
        heading = Text(on_one_line(lines[0]["metric"]) if figure.name == "score" else figure.terminal)
        if figure.is_text:
            table.add_column(heading, overflow="fold", min_width=12)
        else:
            table.add_column(heading, justify="right", no_wrap=True)
    for place, row in enumerate(lines):
        table.add_row(
            *(
                Text(
                    _with_line_breaks(figure.text(row, is_brief=True), figure.is_text),
                    style="bold" if place in bold else "",
                )
                for figure, bold in zip(figures, best, strict=True)
            )
        )
    return table


def _with_line_breaks(text: str, is_text: bool) -> str:
    """Return `text` with spaces where the long name of a row may wrap."""
    return on_one_line(text.replace("[", " [").replace(",", ", ") if is_text else text)
