"""A board in the terminal."""

from __future__ import annotations

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from kdbench.board.columns import has_score, task_columns
from kdbench.board.formatting import on_one_line
from kdbench.board.frames import rows_of

_REASON_LENGTH = 200


def render_terminal(rows: pd.DataFrame) -> list[Table]:
    """Return one table a task of the table of rows, readable at 100 columns; reasons and warnings stand below."""
    return [_table(str(task), part) for task, part in rows.groupby("task")]


def _table(task: str, rows: pd.DataFrame) -> Table:
    columns = [column for column in task_columns(rows, rows["metric"].iloc[0]) if column.short_heading]
    remarks = "\n".join(
        on_one_line(f"{row['strategy']}: {remark}", _REASON_LENGTH)
        for row in rows_of(rows)
        for remark in (None if has_score(row) else row["reason"], row["warnings"], row["latency_note"])
        if remark
    )
    # Text objects: rich would read square brackets in a plain string as markup.
    table = Table(
        title=Text(on_one_line(task)),
        title_justify="left",
        caption=Text(remarks) if remarks else None,
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
    for row in rows_of(rows):
        table.add_row(*(Text(_breakable(column.cell(row), column.is_text)) for column in columns))
    return table


def _breakable(text: str, is_text: bool) -> str:
    """Return `text` with places where a long name of a row may go on in the next line."""
    return on_one_line(text.replace("[", " [").replace(",", ", ") if is_text else text)
