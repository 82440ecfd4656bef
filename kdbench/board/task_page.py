"""The page of one task."""

from __future__ import annotations

import pandas as pd

from kdbench.board import formatting
from kdbench.board.columns import Column, has_score, task_columns
from kdbench.board.formatting import escape_markdown
from kdbench.board.frames import rows_of
from kdbench.board.markdown import cut, page, progress, remarks, section, table
from kdbench.board.notes import task_notes
from kdbench.board.table import PUBLISHED


def task_page(rows: pd.DataFrame, cells: pd.DataFrame, pending: int = 0) -> str:
    """Return the page of one task: its table, why rows have no score, warnings, and footnotes.

    Args:
        rows: the task's part of the table of rows.
        cells: the task's part of the table of cells.
        pending: how many of the task's cells have not ended yet.
    """
    task, title = cells["task"].iloc[0], cells["task_title"].iloc[0]
    columns = [*task_columns(rows, cells["metric"].iloc[0]), *_plugin_columns(rows)]
    return page(
        f"# {escape_markdown(task)}: {escape_markdown(title)}",
        f"Budget {escape_markdown(cells['budget'].iloc[0])}. [All tasks](README.md), [this table as CSV]({task}.csv).",
        progress(len(cells), pending),
        table(
            [(escape_markdown(column.heading), column.is_text) for column in columns],
            [[column.cell(row) for column in columns] for row in rows_of(rows)],
        ),
        section("Without a score", _reasons(rows)),
        section("Warnings", remarks(rows, "warnings")),
        section("Timed in another setting", remarks(rows, "latency_note")),
        section("Notes", task_notes(cells)),
    )


def _reasons(rows: pd.DataFrame) -> list[str]:
    return [
        f"**{escape_markdown(row['strategy'])}** {row['status']}: {cut(row['reason'])}"
        for row in rows_of(rows)
        if not has_score(row)
    ]


def _plugin_columns(rows: pd.DataFrame) -> list[Column]:
    def column(name: str) -> Column:
        return Column(name, lambda row: formatting.plain(row[name]))

    return [column(name) for name in rows.columns if name not in PUBLISHED and rows[name].notna().any()]
