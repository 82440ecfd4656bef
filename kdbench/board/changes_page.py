"""What changed, as a page in Markdown and as a CSV file."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pandas as pd

from kdbench.board.changes_words import (
    HEADINGS,
    IS_TEXT,
    cells_of_change,
    cost_lines,
    headline,
    how_decided,
    side,
    together,
)
from kdbench.board.csv_file import csv_text
from kdbench.board.diff import Change, Changes
from kdbench.board.formatting import escape_markdown
from kdbench.board.markdown import cut, page, section, table

CHANGES_PAGE = "changes.md"
CHANGES_FILE = "changes.csv"

_OF_BOTH = {"status": "object", "score": "float64", "total_parameters": "Int64", "artifact_bytes": "Int64"}
CHANGES_COLUMNS: dict[str, str] = {
    "task": "object",
    "strategy": "object",
    "change": "object",
    "is_regression": "bool",
    **{f"{name}_{when}": kind for name, kind in _OF_BOTH.items() for when in ("before", "now")},
    "difference": "float64",
    "difference_low": "float64",
    "difference_high": "float64",
    "p": "float64",
    "p_holm": "float64",
    "by_scores": "bool",
    "note": "object",
    "size_and_speed": "object",
}
"""The columns of the CSV file: names and order are only ever added to."""


def changes_files(changes: Changes) -> dict[str, str | bytes]:
    """Return the content of each file on what changed by its name; neither names a folder."""
    return {CHANGES_PAGE: _page(changes), CHANGES_FILE: csv_text(_table(changes))}


def _page(changes: Changes) -> str:
    return page(
        "# What changed",
        f"**{escape_markdown(headline(changes))}**",
        f"- Before: {escape_markdown(side(changes.before))}\n- Now: {escape_markdown(side(changes.after))}",
        f"[The board](README.md), [these changes as CSV]({CHANGES_FILE}).",
        *(
            _section(str(task), list(rows))
            for task, rows in groupby(changes.rows, key=lambda change: change.task)
        ),
        section("Size and speed", [cut(line) for line in cost_lines(changes)]),
        section("Left out of the older records", [escape_markdown(line) for line in changes.left_out]),
        section("Notes", [escape_markdown(line) for line in how_decided(changes)]),
    )


def _section(task: str, rows: list[Change]) -> str:
    listed, others = together(rows)
    lines = [cells_of_change(change) for change in listed]
    lost = {(place, 0) for place, change in enumerate(listed) if change.is_regression}
    return page(
        f"## {escape_markdown(task)}",
        table(list(zip(HEADINGS, IS_TEXT, strict=True)), lines, lost) if lines else "",
        "\n".join(f"- {escape_markdown(line)}" for line in others),
        "\n".join(
            f"- **{escape_markdown(change.strategy)}**: {cut(change.note)}"
            for change in listed
            if change.note
        ),
    ).rstrip()


def _table(changes: Changes) -> pd.DataFrame:
    return pd.DataFrame([_line(change) for change in changes.rows], columns=list(CHANGES_COLUMNS)).astype(
        CHANGES_COLUMNS
    )


def _line(change: Change) -> dict[str, Any]:
    found = change.difference
    statistics = (
        {}
        if found is None
        else {
            "difference": found.difference,
            "difference_low": found.low,
            "difference_high": found.high,
            "p": found.p,
            "p_holm": change.p_holm,
        }
    )
    both = {
        f"{name}_{when}": None if row is None else row[name]
        for when, row in (("before", change.before), ("now", change.after))
        for name in _OF_BOTH
    }
    return {
        "task": change.task,
        "strategy": change.strategy,
        "change": str(change.kind),
        "is_regression": change.is_regression,
        **both,
        **statistics,
        "by_scores": change.is_by_scores,
        "note": change.note or None,
        "size_and_speed": "; ".join(change.costs) or None,
    }
