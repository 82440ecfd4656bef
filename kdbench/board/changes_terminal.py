"""What changed, in the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

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
from kdbench.board.diff import Change, Changes, Kind
from kdbench.board.formatting import on_one_line

_LENGTH = 300
_STYLES = {Kind.BETTER: "green", Kind.WORKS: "green"}
_LOST = "bold red"


def print_changes(changes: Changes, out: Console) -> None:
    """Print one table of all rows but those of which nothing is to be told, and the remarks below it."""
    out.print(Text(f"What changed: {headline(changes)}", style="bold"), soft_wrap=True)
    out.print(f"  before: {side(changes.before)}", soft_wrap=True)
    out.print(f"  now: {side(changes.after)}", soft_wrap=True)
    listed, _ = together(list(changes.rows))
    if listed:
        out.print(_table(listed))
    notes = [f"{change.strategy} on {change.task}: {change.note}" for change in listed if change.note]
    for line in (*notes, *cost_lines(changes), *how_decided(changes)):
        out.print(f"  {on_one_line(line, _LENGTH)}", soft_wrap=True)


def _table(listed: list[Change]) -> Table:
    # Text objects: rich would read square brackets in a plain string as markup.
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading, is_text in (("task", True), *zip(HEADINGS, IS_TEXT, strict=True)):
        if is_text:
            table.add_column(Text(heading), overflow="fold")
        else:
            table.add_column(Text(heading), justify="right", no_wrap=True)
    for change in listed:
        style = _LOST if change.is_regression else _STYLES.get(change.kind, "")
        cells = (change.task, *cells_of_change(change))
        table.add_row(*(Text(on_one_line(cell)) for cell in cells), style=style)
    return table
