"""Render Markdown pages from templates, and tables as Markdown and CSV."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import cache

import jinja2
import pandas as pd
from markupsafe import Markup
from tabulate import DataRow, TableFormat, tabulate

from kdbench.board.frames import Row
from kdbench.board.rows import has_score
from kdbench.utils.formatting import defuse_formula, escape_markdown, on_one_line, percent, plural

_LENGTH = 300
"""Reasons and warnings are cut to this many characters; the CSV file has the full text."""


def markdown(template: str, **values: object) -> str:
    """Render `template` with `values`, without the blank lines of empty parts.

    Values are escaped, so that they show as plain text; only `Markup` is inserted as Markdown.
    """
    text = _environment().get_template(f"{template}.md.j2").render(values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kdbench.render"),
        autoescape=True,
        finalize=_escaped,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"plural": plural, "has_score": has_score}
    environment.filters |= {"cut": cut, "percent": percent}
    return environment


def _escaped(value: object) -> object:
    # Objects with this method are Markdown already: a table, or the output of a macro.
    return value if hasattr(value, "__html__") else Markup(escape_markdown(str(value)))


def score_or_status(row: Row) -> str:
    """Return the score of `row` in percent, or why it has none."""
    return percent(row["score"]) if has_score(row) else str(row["status"])


def cut(text: str) -> str:
    """Return `text` on one line, cut to the length of a list item."""
    return on_one_line(text, _LENGTH)


def images(drawn: Collection[str], pictures: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the path and the alternative text of those of `pictures` (name, alternative text) that are `drawn`."""
    paths = [(f"pictures/{name}.png", alternative) for name, alternative in pictures]
    return [(path, alternative) for path, alternative in paths if path in drawn]


def table(
    headings: list[tuple[str, bool]], rows: list[list[str]], bold: Collection[tuple[int, int]] = ()
) -> Markup:
    """Return a Markdown table of plain texts.

    Cells are not padded: one longer name would change every line of a diff between two runs.

    Args:
        headings: the heading of each column, and whether the column is text.
        rows: the texts of each row.
        bold: row and column of each bold text, from 0.
    """
    lines = [
        [f"**{_escaped(text)}**" if (i, j) in bold else str(_escaped(text)) for j, text in enumerate(row)]
        for i, row in enumerate(rows)
    ]
    rule = "|".join("---" if is_text else "---:" for _, is_text in headings)
    line = DataRow("|", "|", "|")
    unpadded = TableFormat(None, lambda widths, aligns: f"|{rule}|", None, None, line, line, 1, None)
    text = tabulate(
        lines,
        headers=[str(_escaped(heading)) for heading, _ in headings],
        tablefmt=unpadded,
        disable_numparse=True,
        stralign=None,
    )
    return Markup(text)


def csv_text(rows: pd.DataFrame) -> str:
    """Return `rows` as CSV: scores as fractions, missing values empty, no text that a spreadsheet runs as a formula."""
    harmless = rows.rename(columns=_without_formula).map(_without_formula)
    return str(harmless.to_csv(index=False, lineterminator="\n"))


def _without_formula(value: object) -> object:
    return defuse_formula(on_one_line(value)) if isinstance(value, str) else value
