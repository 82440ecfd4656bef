"""What changed, in words and cells of text, for every output alike."""

from __future__ import annotations

from datetime import timezone

import pandas as pd

from kdbench.board import formatting
from kdbench.board.diff import Change, Changes, Kind
from kdbench.board.formatting import MISSING, plural
from kdbench.board.frames import Row
from kdbench.board.rows import has_score
from kdbench.board.statistics import ALPHA

HEADINGS = ("change", "strategy", "before", "now", "difference", "p")
IS_TEXT = (True, True, False, False, False, False)
_TOGETHER = (Kind.SAME, Kind.UNSCORED)
"""Kinds of which nothing is to be told but the names."""


def headline(changes: Changes) -> str:
    """Return how many rows are of each kind, those with a score on one task counted one by one."""
    told = [f"{number:,} {kind}" for kind in Kind if (number := changes.count(kind))]
    return ", ".join(told) or "no row on either side"


def side(cells: pd.DataFrame) -> str:
    """Return what tells one set of records from another: how many, when they ended, and of which revision."""
    if cells.empty:
        return "nothing that was asked for"
    days = sorted({f"{ended.astimezone(timezone.utc):%Y-%m-%d %H:%M}" for ended in cells["finished_at"]})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    revisions = sorted(cells["revision"].dropna().unique())
    of = f", of {', '.join(revisions)}" if revisions else ""
    return f"{plural(len(cells), 'cell')}, ended {when} UTC{of}"


def together(rows: list[Change]) -> tuple[list[Change], list[str]]:
    """Return the rows to list one by one, and a line for each kind of those that need only be named."""
    listed = [change for change in rows if change.kind not in _TOGETHER]
    lines = [
        f"{str(kind).capitalize()}: {', '.join(names)}"
        for kind in _TOGETHER
        if (names := [change.strategy for change in rows if change.kind is kind])
    ]
    return listed, lines


def cells_of_change(change: Change) -> list[str]:
    """Return a row's text under each of `HEADINGS`."""
    difference = change.difference
    return [
        str(change.kind),
        change.strategy,
        _score(change.before),
        _score(change.after),
        _difference(change),
        "" if difference is None or change.p_holm is None else _p(change.p_holm),
    ]


def cost_lines(changes: Changes) -> list[str]:
    """Return a line for each row whose size or speed changed."""
    return [
        f"{change.strategy} on {change.task}: {'; '.join(change.costs)}"
        for change in changes.rows
        if change.costs
    ]


def regressions_line(changes: Changes) -> str:
    """Return one line that names what was lost."""
    lost = changes.regressions
    named = "; ".join(f"{change.strategy} on {change.task}: {change.kind}" for change in lost)
    return f"{plural(len(lost), 'regression')}: {named}"


def how_decided(changes: Changes) -> list[str]:
    """Return what a reader must know to trust the kinds, a sentence each."""
    compared = [change for change in changes.rows if change.difference is not None]
    by_scores = [change for change in changes.rows if change.is_by_scores]
    lines = [f"{line[0].upper()}{line[1:]}." for line in changes.remarks]
    if compared:
        lines.append(
            f"{plural(len(compared), 'row')} compared on the same examples (paired bootstrap, spread of the seeds added):"
            f" better and worse mean p < {ALPHA:g} by Holm over all of them. The difference is in points, with its"
            " 95% interval by itself."
        )
    if any(not change.seeds_are_known for change in compared):
        lines.append(
            "A row of one seed shows nothing of what other seeds would give: its difference is about these trained"
            " models, not about the strategy."
        )
    if by_scores:
        lines.append(
            f"{plural(len(by_scores), 'row')} compared by scores alone, without a p (marked ~): better and worse mean that"
            " the 95% intervals of all seeds lie on one side of those before. That asks for more than a paired test"
            " would: small changes stay unseen."
        )
    if any(change.kind is Kind.SAME for change in changes.rows):
        lines.append("The same run: the very records of before, so that there is nothing to compare.")
    lines.append(
        "A regression is a row that is shown worse, fails now, or is gone though it had a score. Size and speed are"
        " told, and are none. Slower and faster mean that the intervals of two speed-ups from the same setting do not"
        " overlap."
    )
    return lines


def _score(row: Row | None) -> str:
    if row is None:
        return ""
    return formatting.percent(row["score"]) if has_score(row) else str(row["status"])


def _difference(change: Change) -> str:
    found = change.difference
    if found is not None:
        return formatting.difference_with_interval(found.difference, found.low, found.high)
    if change.is_by_scores and change.before is not None and change.after is not None:
        return f"~ {formatting.difference(change.after['score'] - change.before['score'])}"
    return MISSING if change.kind is Kind.NOT_COMPARABLE else ""


def _p(p: float) -> str:
    return formatting.probability(p).removeprefix("p ").removeprefix("= ")
