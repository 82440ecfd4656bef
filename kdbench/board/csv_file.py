"""A task's rows as a CSV file that a spreadsheet may open."""

from __future__ import annotations

import pandas as pd

from kdbench.board.formatting import defuse_formula, on_one_line


def csv_text(rows: pd.DataFrame) -> str:
    """Return `rows` as CSV: scores as fractions, missing values empty, no text that could run as a formula."""
    return str(rows.rename(columns=_harmless).map(_harmless).to_csv(index=False, lineterminator="\n"))


def _harmless(value: object) -> object:
    return defuse_formula(on_one_line(value)) if isinstance(value, str) else value
