"""The columns of a task's tables for readers: what each shows, as plain text, and what it means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from kdbench.board import formatting
from kdbench.board.formatting import MISSING
from kdbench.board.frames import Row
from kdbench.board.rows import has_score
from kdbench.records import Status

WARNING_SIGN = "\N{WARNING SIGN}"


@dataclass(frozen=True)
class Column:
    """One column of a table: its heading, and the text of its cell in a row."""

    heading: str
    cell: Callable[[Row], str]
    note: str = ""
    """One sentence for who does not know the heading."""
    is_text: bool = False
    short_heading: str = ""
    """The heading in the terminal; a column without one is left out there."""
    measure: str = ""
    """The column of the table of rows that says which row is best."""
    is_least_best: bool = False


def best_rows(column: Column, rows: list[Row]) -> set[int]:
    """Return the places of the best of `rows` in `column`, and of those that read alike.

    There is none where the column has no order, or all rows read alike.
    """
    if not column.measure:
        return set()
    values = {place: row[column.measure] for place, row in enumerate(rows) if has_score(row)}
    values = {place: value for place, value in values.items() if value is not None}
    texts = {place: column.cell(rows[place]).partition(" [")[0] for place in values}
    if len(set(texts.values())) < 2:
        return set()
    best = (min if column.is_least_best else max)(values, key=lambda place: values[place])
    return {place for place, text in texts.items() if text == texts[best]}


def leading_columns() -> list[Column]:
    """Return the columns that every table of a task begins with."""
    return [
        Column(
            "rank",
            _rank,
            "rows that are not shown to differ from the best of their group share a rank, as in 2=.",
            short_heading="#",
        ),
        Column(
            "strategy",
            _name,
            f"the recipe and the parameters that differ from its defaults; {WARNING_SIGN} marks a warning below.",
            is_text=True,
            short_heading="strategy",
        ),
        Column(
            "front",
            lambda row: row["front"] or "",
            "no other row is better at no more cost: of p50 latency (L), of parameters (P), of training with the"
            " teacher's part (C); what differs by noise alone pushes nobody off.",
            short_heading="LPC",
        ),
    ]


def quality_columns(rows: pd.DataFrame, metric: str) -> list[Column]:
    """Return the columns on quality of `rows`, all of one task that is scored by `metric`."""
    statuses = dict(zip(rows["strategy"], rows["status"], strict=True))
    return [
        Column(
            metric,
            _score,
            "the score in percent, a mean over seeds, with its 95% interval for other examples and seeds alike.",
            short_heading=metric,
            measure="score",
        ),
        Column(
            "kept",
            lambda row: formatting.share(row["share_kept"]),
            "the score as a share of the teacher's.",
            short_heading="kept",
            measure="share_kept",
        ),
        Column(
            "against its control",
            lambda row: _against_control(row, statuses),
            "points above the same student trained without the idea under test, with the 95% interval.",
            is_text=True,
        ),
        Column(
            "gap recovered",
            gap_recovered,
            "(score - control) / (teacher - control) with its 95% interval, where the teacher is shown to lead the"
            " control.",
        ),
        Column("seeds", lambda row: str(row["seeds"]), "how many times it was trained and scored."),
    ]


def marked(strategy: str, *, is_teacher: bool, is_warned: bool) -> str:
    """Return a row's name with the marks of the teacher and of a warning."""
    return f"{strategy}{' (teacher)' if is_teacher else ''}{f' {WARNING_SIGN}' if is_warned else ''}"


def _rank(row: Row) -> str:
    return "" if row["rank"] is None else f"{row['rank']}{'=' if row['tied'] else ''}"


def _name(row: Row) -> str:
    return marked(row["strategy"], is_teacher=row["is_teacher"], is_warned=bool(row["warnings"]))


def _score(row: Row) -> str:
    if not has_score(row):
        return str(row["status"])
    return formatting.with_interval(row["score"], row["score_low"], row["score_high"])


def gap_recovered(row: Row) -> str:
    """Return the share of the gap with its interval, where the teacher is shown to lead the control."""
    return formatting.share_with_interval(shown_gap(row), row["gap_low"], row["gap_high"])


def shown_gap(row: Row) -> float | None:
    """Return the share of the gap, where the teacher is shown to lead the control."""
    # A share of a lead that may be none, or even the control's, would say nothing.
    return None if row["gap_reason"] else row["gap_recovered"]


def _against_control(row: Row, statuses: dict[str, str]) -> str:
    """Name the control and the difference to it, or why there is none."""
    control = row["control"]
    if not control:
        return MISSING
    if row["control_difference"] is not None:
        difference = formatting.difference_with_interval(
            row["control_difference"], row["control_difference_low"], row["control_difference_high"]
        )
        return f"{difference} ({control})"
    if control not in statuses:
        return f"{control}: not run"
    return MISSING if statuses[control] == Status.OK.value else f"{control}: {statuses[control]}"
