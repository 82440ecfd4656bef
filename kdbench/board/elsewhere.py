"""The section on latencies from settings other than the one that a task's table of speed shows."""

from __future__ import annotations

import pandas as pd

from kdbench.board.cells import POINT_COLUMNS
from kdbench.board.columns import Column, leading_columns
from kdbench.board.formatting import escape_markdown
from kdbench.board.frames import rows_of
from kdbench.board.markdown import page, table
from kdbench.board.measure_columns import speed_columns

_NOTE = (
    "Rows stand in the order of their scores. Latencies of different settings say nothing of each other; each speed-up"
    " is over the teacher in the same rounds."
)


def elsewhere_section(rows: pd.DataFrame, points: pd.DataFrame) -> str:
    """Return a table for each further setting in which rows were timed, or nothing where there is none.

    Args:
        rows: those of one task that have a score, as the page orders them; of one without a p50 a remark tells.
        points: the task's part of the table of latencies.
    """
    timed = {row["strategy"]: row for row in rows_of(rows) if row["p50_ms"] is not None}
    # The first point of a model is its main one, and the first setting of a row the one that is shown above.
    main = points.drop_duplicates(["strategy", "setting"])
    further = main[main.duplicated("strategy")]
    columns = [column for column in leading_columns() if column.heading == "strategy"]
    columns += [column for column in speed_columns() if column.measure in POINT_COLUMNS]
    parts = []
    for setting, of_setting in further.groupby("setting"):
        measured = {one["strategy"]: one for one in rows_of(of_setting)}
        lines = [{**row, **measured[name]} for name, row in timed.items() if name in measured]
        if lines:
            cells = [[column.cell(line) for column in columns] for line in lines]
            parts += [f"{escape_markdown(str(setting))}:", table(_headings(columns), cells)]
    return page("## Speed in other settings", *parts, _NOTE).rstrip() if parts else ""


def _headings(columns: list[Column]) -> list[tuple[str, bool]]:
    return [(column.heading, column.is_text) for column in columns]
