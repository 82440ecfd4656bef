"""The parts that a board's pages in Markdown are made of."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pandas as pd
from tabulate import DataRow, TableFormat, tabulate

from kdbench.board.frames import rows_of
from kdbench.utils.formatting import defuse_formula, escape_markdown, on_one_line, plural

_LENGTH = 300
"""A reason or a warning is cut here; the CSV file has all of it."""


def page(*parts: str) -> str:
    """Return a page of these parts; an empty one leaves no trace."""
    return "\n\n".join(part for part in parts if part) + "\n"


def section(heading: str, lines: Iterable[str]) -> str:
    """Return `lines` of Markdown as a list under `heading`, or nothing where there are none."""
    listed = "\n".join(f"- {line}" for line in lines)
    return f"## {heading}\n\n{listed}" if listed else ""


def progress(done: int, pending: int) -> str:
    """Return how many cells are done, or nothing where none is pending."""
    if not pending:
        return ""
    return f"**{done:,} of {plural(done + pending, 'cell')} done**; the others are running or waiting."


def images(drawn: Collection[str], pictures: Iterable[tuple[str, str]]) -> str:
    """Return those of `pictures` that are `drawn`, a paragraph each.

    Args:
        drawn: the paths of what stands in the board's folder.
        pictures: the name of each, and what it shows for who does not see it.
    """
    shown = [(f"pictures/{name}.png", alternative) for name, alternative in pictures]
    return "\n\n".join(
        f"![{escape_markdown(alternative)}]({path})" for path, alternative in shown if path in drawn
    )


def cut(text: str) -> str:
    """Return `text` escaped and cut to a length that reads well in a list."""
    return escape_markdown(on_one_line(text, _LENGTH))


def remarks(rows: pd.DataFrame, column: str, place: str = "") -> list[str]:
    """Return a line for each row that has something in `column`; `place` (Markdown) follows the row's name."""
    return [
        f"**{escape_markdown(row['strategy'])}**{place}: {cut(row[column])}"
        for row in rows_of(rows)
        if row[column]
    ]


def table(
    headings: list[tuple[str, bool]],
    rows: list[list[str]],
    bold: Collection[tuple[int, int]] = (),
) -> str:
    """Return a table of plain texts.

    Args:
        headings: each Markdown already, and whether its column is text.
        rows: the texts, a heading each.
        bold: row and column of each text that is to stand out, from 0.
    """
    rule = "|".join("---" if is_text else "---:" for _, is_text in headings)
    line = DataRow("|", "|", "|")
    # Cells are not padded: one row's longer name would change every line, and with it a diff of two runs.
    unpadded = TableFormat(None, lambda widths, aligns: f"|{rule}|", None, None, line, line, 1, None)
    escaped = [
        [
            f"**{escape_markdown(text)}**" if (i, j) in bold else escape_markdown(text)
            for j, text in enumerate(row)
        ]
        for i, row in enumerate(rows)
    ]
    return tabulate(
        escaped,
        headers=[heading for heading, _ in headings],
        tablefmt=unpadded,
        disable_numparse=True,
        stralign=None,
    )


def csv_text(rows: pd.DataFrame) -> str:
    """Return `rows` as CSV: scores as fractions, missing values empty, no text that could run as a formula."""
    return str(rows.rename(columns=_harmless).map(_harmless).to_csv(index=False, lineterminator="\n"))


def _harmless(value: object) -> object:
    return defuse_formula(on_one_line(value)) if isinstance(value, str) else value
