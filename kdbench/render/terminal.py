"""A board in the terminal."""

from __future__ import annotations

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from kdbench.board.frames import rows_of
from kdbench.board.rows import has_score
from kdbench.render.columns import (
    Column,
    best_rows,
    cost_columns,
    leading_columns,
    quality_columns,
    shown_gap,
    size_columns,
    speed_columns,
)
from kdbench.utils import formatting
from kdbench.utils.formatting import on_one_line

_REASON_LENGTH = 200
_LEGEND = (
    "Rows not shown to differ share a rank. LPC: no other row is better at no more latency (L), parameters (P), training"
    " cost (C)."
)


def render_terminal(rows: pd.DataFrame) -> list[Table]:
    """Return one table a task of the table of rows, readable at 100 columns; reasons and warnings stand below."""
    return [_table(str(task), part) for task, part in rows.groupby("task")]


def _table(task: str, rows: pd.DataFrame) -> Table:
    lines = rows_of(rows)
    columns = _columns(rows, rows["metric"].iloc[0])
    best = [best_rows(column, lines) for column in columns]
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
    for column in columns:
        heading = Text(on_one_line(column.short_heading))
        if column.is_text:
            table.add_column(heading, overflow="fold", min_width=12)
        else:
            table.add_column(heading, justify="right", no_wrap=True)
    for place, row in enumerate(lines):
        table.add_row(
            *(
                Text(_breakable(column.cell(row), column.is_text), style="bold" if place in bold else "")
                for column, bold in zip(columns, best, strict=True)
            )
        )
    return table


def _columns(rows: pd.DataFrame, metric: str) -> list[Column]:
    """Return the columns of the one table that a terminal shows of a task."""
    gap = Column("gap recovered", lambda row: formatting.share(shown_gap(row)), short_heading="gap")
    speedup = Column(
        "speed-up", lambda row: formatting.ratio(row["speedup"]), short_heading="speed", measure="speedup"
    )
    columns = [
        *leading_columns(),
        *quality_columns(rows, metric),
        gap,
        *size_columns(),
        *speed_columns(),
        speedup,
        *cost_columns(),
    ]
    return [column for column in columns if column.short_heading]


def _breakable(text: str, is_text: bool) -> str:
    """Return `text` with places where a long name of a row may go on in the next line."""
    return on_one_line(text.replace("[", " [").replace(",", ", ") if is_text else text)
