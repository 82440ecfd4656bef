"""Write a board's pages in Markdown by templates, and tables as Markdown and CSV."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import cache

import jinja2
import pandas as pd
from markupsafe import Markup
from tabulate import DataRow, TableFormat, tabulate

from kdbench.board.rows import has_score
from kdbench.utils.formatting import defuse_formula, escape_markdown, on_one_line, percent, plural

_LENGTH = 300
"""A reason or a warning is cut here; the CSV file has all of it."""


def markdown(template: str, **values: object) -> str:
    """Return the page that `template` makes of `values`, without what its empty parts leave behind.

    All values are shown as they are, whatever markup they hold; only what is `Markup` counts as Markdown.
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
    # What has this method is Markdown already: a table, or what a macro wrote.
    return value if hasattr(value, "__html__") else Markup(escape_markdown(str(value)))


def cut(text: str) -> str:
    """Return `text` on one line, cut to a length that reads well in a list."""
    return on_one_line(text, _LENGTH)


def images(drawn: Collection[str], pictures: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the path and the alternative text of those of `pictures` that are `drawn`.

    Args:
        drawn: the paths of what stands in the board's folder.
        pictures: the name of each, and what it shows for who does not see it.
    """
    found = [(f"pictures/{name}.png", alternative) for name, alternative in pictures]
    return [(path, alternative) for path, alternative in found if path in drawn]


def table(
    headings: list[tuple[str, bool]],
    rows: list[list[str]],
    bold: Collection[tuple[int, int]] = (),
) -> Markup:
    """Return a table of plain texts.

    Cells are not padded: one row's longer name would change every line, and with it a diff of two runs.

    Args:
        headings: of each column, and whether it is text.
        rows: the texts, a heading each.
        bold: row and column of each text that is to stand out, from 0.
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
    """Return `rows` as CSV: scores as fractions, missing values empty, no text that could run as a formula."""
    return str(rows.rename(columns=_harmless).map(_harmless).to_csv(index=False, lineterminator="\n"))


def _harmless(value: object) -> object:
    return defuse_formula(on_one_line(value)) if isinstance(value, str) else value
