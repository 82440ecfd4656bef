"""Render what changed between two sets of records: Markdown, CSV and terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timezone
from itertools import groupby
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdbench.board.columns import ROW_COLUMNS
from kdbench.board.diff import Change, Changes, Kind
from kdbench.board.statistics import ALPHA
from kdbench.render.markdown import csv_text, markdown, score_or_status, table
from kdbench.render.terminal import plain_table
from kdbench.utils import formatting
from kdbench.utils.formatting import MISSING, on_one_line, plural

_TEXTS = ("change", "strategy")
HEADINGS = [(name, name in _TEXTS) for name in (*_TEXTS, "before", "now", "difference", "p")]
"""Each with whether its column is text."""
_NAMED_ONLY = (Kind.SAME, Kind.UNSCORED)
"""Kinds of which only the strategies' names are listed."""


def headline(changes: Changes) -> str:
    """Return the number of rows of each kind of change."""
    counts = [f"{number:,} {kind}" for kind in Kind if (number := changes.count(kind))]
    return ", ".join(counts) or "no row on either side"


def describe_cells(cells: pd.DataFrame) -> str:
    """Describe one set of records: how many cells, when they ended, and their revision."""
    if cells.empty:
        return "no matching cell"
    days = sorted({f"{ended.astimezone(timezone.utc):%Y-%m-%d %H:%M}" for ended in cells["finished_at"]})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    revisions = sorted(cells["revision"].dropna().unique())
    of = f", of {', '.join(revisions)}" if revisions else ""
    return f"{plural(len(cells), 'cell')}, ended {when} UTC{of}"


def split_listed(rows: list[Change]) -> tuple[list[Change], list[str]]:
    """Return the rows to list individually, and a line for each kind whose rows are only named."""
    listed = [change for change in rows if change.kind not in _NAMED_ONLY]
    lines = [
        f"{str(kind).capitalize()}: {', '.join(names)}"
        for kind in _NAMED_ONLY
        if (names := [change.strategy for change in rows if change.kind is kind])
    ]
    return listed, lines


def cells_of_change(change: Change) -> list[str]:
    """Return a row's text under each of `HEADINGS`."""
    p = "" if change.p_holm is None else formatting.probability(change.p_holm)
    return [
        str(change.kind),
        change.strategy,
        score_or_status(change.before) if change.before else "",
        score_or_status(change.after) if change.after else "",
        _difference(change),
        p.removeprefix("p ").removeprefix("= "),
    ]


def cost_lines(changes: Changes) -> list[str]:
    """Return a line for each row whose size or speed changed."""
    return [
        f"{change.strategy} on {change.task}: {'; '.join(change.costs)}"
        for change in changes.rows
        if change.costs
    ]


def regressions_line(changes: Changes) -> str:
    """Return one line that names the regressions."""
    lost = changes.regressions
    named = "; ".join(f"{change.strategy} on {change.task}: {change.kind}" for change in lost)
    return f"{plural(len(lost), 'regression')}: {named}"


def decision_notes(changes: Changes) -> Iterator[str]:
    """Yield how the kinds of change were decided, one sentence each."""
    compared = [change for change in changes.rows if change.difference is not None]
    by_scores = [change for change in changes.rows if change.is_by_scores]
    yield from (f"{line[0].upper()}{line[1:]}." for line in changes.remarks)
    if compared:
        yield (
            f"{plural(len(compared), 'row')} compared on the same examples (paired bootstrap, variance of seeds added):"
            f" better and worse mean p < {ALPHA:g} after Holm correction over all of them. The difference is in points,"
            " with its uncorrected 95% interval; rows with the same seeds on both sides are paired seed by seed. No loss means"
            f" that a difference of {100 * compared[0].margin:g} points or more is excluded (two one-sided tests at 5%)."
        )
    if any(not change.seeds_are_known for change in compared):
        yield (
            "A row of one seed says nothing about other seeds: its difference compares these trained models, not the"
            " strategies."
        )
    if by_scores:
        yield (
            f"{plural(len(by_scores), 'row')} compared by scores alone, without a p-value (marked ~): better and worse mean"
            " that the 95% intervals of all seeds lie on one side of those before. This is stricter than a paired"
            " test: small changes go undetected."
        )
    if any(change.kind is Kind.SAME for change in changes.rows):
        yield "The same run: identical records, so that there is nothing to compare."
    yield (
        "A regression is a row that is significantly worse, unless by less than the margin of no loss, fails now, or is gone"
        " though it had a score. Changes of size and speed are listed but do not count as regressions. Slower and faster mean that the intervals of two"
        " speed-ups from the same setting do not overlap."
    )


def _difference(change: Change) -> str:
    paired = change.difference
    if paired is not None:
        return formatting.with_interval(paired.difference, paired.low, paired.high, formatting.difference)
    if change.is_by_scores and change.before is not None and change.after is not None:
        return f"~ {formatting.difference(change.after['score'] - change.before['score'])}"
    return MISSING if change.kind is Kind.NOT_COMPARABLE else ""


CHANGES_PAGE = "changes.md"
CHANGES_FILE = "changes.csv"

_COMPARED_COLUMNS = {
    name: ROW_COLUMNS[name] for name in ("status", "score", "total_parameters", "artifact_bytes")
}
CHANGES_COLUMNS: dict[str, str] = {
    "task": "object",
    "strategy": "object",
    "change": "object",
    "is_regression": "bool",
    **{f"{name}_{when}": kind for name, kind in _COMPARED_COLUMNS.items() for when in ("before", "now")},
    "difference": "float64",
    "difference_low": "float64",
    "difference_high": "float64",
    "p": "float64",
    "p_holm": "float64",
    "by_scores": "bool",
    "note": "object",
    "size_and_speed": "object",
}
"""The columns of the CSV file; columns may be added, but not renamed, reordered or removed."""


def changes_files(changes: Changes) -> dict[str, str | bytes]:
    """Return the contents of the files on what changed, by file name."""
    data = pd.DataFrame(map(_line, changes.rows), columns=list(CHANGES_COLUMNS)).astype(CHANGES_COLUMNS)
    page = markdown(
        "changes",
        headline=headline(changes),
        before=describe_cells(changes.before),
        now=describe_cells(changes.after),
        csv=CHANGES_FILE,
        tasks=[
            _task(str(task), list(rows))
            for task, rows in groupby(changes.rows, key=lambda change: change.task)
        ],
        costs=cost_lines(changes),
        left_out=changes.left_out,
        notes=list(decision_notes(changes)),
    )
    return {CHANGES_PAGE: page, CHANGES_FILE: csv_text(data)}


def _task(task: str, rows: list[Change]) -> dict[str, Any]:
    listed, others = split_listed(rows)
    lines = [cells_of_change(change) for change in listed]
    bold = {(place, 0) for place, change in enumerate(listed) if change.is_regression}
    drawn = table(HEADINGS, lines, bold) if lines else ""
    return {"name": task, "table": drawn, "others": others, "listed": listed}


def _line(change: Change) -> dict[str, Any]:
    paired = change.difference
    both = {
        f"{name}_{when}": None if row is None else row[name]
        for when, row in (("before", change.before), ("now", change.after))
        for name in _COMPARED_COLUMNS
    }
    return {
        "task": change.task,
        "strategy": change.strategy,
        "change": str(change.kind),
        "is_regression": change.is_regression,
        **both,
        "difference": paired and paired.difference,
        "difference_low": paired and paired.low,
        "difference_high": paired and paired.high,
        "p": paired and paired.p,
        "p_holm": change.p_holm,
        "by_scores": change.is_by_scores,
        "note": change.note or None,
        "size_and_speed": "; ".join(change.costs) or None,
    }


_LENGTH = 300
_STYLES = {Kind.BETTER: "green", Kind.WORKS: "green"}


def print_changes(changes: Changes, out: Console) -> None:
    """Print one table of the rows to list individually, and the remarks below it."""
    out.print(Text(f"What changed: {headline(changes)}", style="bold"), soft_wrap=True)
    out.print(f"  before: {describe_cells(changes.before)}", soft_wrap=True)
    out.print(f"  now: {describe_cells(changes.after)}", soft_wrap=True)
    listed, _ = split_listed(list(changes.rows))
    if listed:
        out.print(_terminal_table(listed))
    notes = [f"{change.strategy} on {change.task}: {change.note}" for change in listed if change.note]
    for line in (*notes, *cost_lines(changes), *decision_notes(changes)):
        out.print(f"  {on_one_line(line, _LENGTH)}", soft_wrap=True)


def _terminal_table(listed: list[Change]) -> Table:
    table = plain_table([("task", True), *HEADINGS], no_wrap=True)
    for change in listed:
        style = "bold red" if change.is_regression else _STYLES.get(change.kind, "")
        cells = (change.task, *cells_of_change(change))
        table.add_row(*(Text(on_one_line(cell)) for cell in cells), style=style)
    return table
