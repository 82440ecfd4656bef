"""The section on latency by batch size and length."""

from __future__ import annotations

import pandas as pd

from kdbench.board.columns import leading_columns
from kdbench.board.formatting import MISSING, milliseconds
from kdbench.board.frames import rows_of
from kdbench.board.markdown import page, table
from kdbench.budgets import BackEnd

_NOTE = (
    "p50 in ms of a call in PyTorch's eager mode with batch x length word pieces, all attended to. What would have taken"
    f" longer than the budget allows is {MISSING}. The percentiles, throughput and other back ends stand in"
    " [latency.csv](latency.csv)."
)


def grid_section(rows: pd.DataFrame, points: pd.DataFrame) -> str:
    """Return the table of p50 by batch size and length, or nothing where none was timed.

    Args:
        rows: those of one task that have a score, as the page orders them; rows without a p50 are left out.
        points: the task's part of the table of latencies.
    """
    timed = rows[rows["p50_ms"].notna()]
    # The first setting of a row is the one that its p50 comes from.
    setting = points["strategy"].map(points.drop_duplicates("strategy").set_index("strategy")["setting"])
    points = points[points["setting"] == setting]
    eager = points[(points["back_end"] == BackEnd.TORCH.value) & points["length"].notna()]
    eager = eager[eager["strategy"].isin(timed["strategy"])].drop_duplicates(
        ["strategy", "batch_size", "length"]
    )
    measured = {(row["strategy"], row["batch_size"], row["length"]): row["p50_ms"] for row in rows_of(eager)}
    sizes = sorted({place[1:] for place, p50_ms in measured.items() if p50_ms is not None})
    if not sizes:
        return ""
    leading = leading_columns()
    lines = [
        [column.cell(row) for column in leading]
        + [milliseconds(measured.get((row["strategy"], *size))) for size in sizes]
        for row in rows_of(timed)
    ]
    best = set()
    for j, size in enumerate(sizes):
        column = [measured.get((name, *size)) for name in timed["strategy"]]
        least = min(value for value in column if value is not None)
        best |= {(i, len(leading) + j) for i, value in enumerate(column) if value == least}
    headings = [
        *((column.heading, column.is_text) for column in leading),
        *((f"{batch} x {length}", False) for batch, length in sizes),
    ]
    return page(
        "## Latency by batch and length", table(headings, lines, best if len(lines) > 1 else ()), _NOTE
    ).rstrip()
