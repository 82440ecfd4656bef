"""Extract from the table of rows what plots show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from kdbench.board.frames import Row, rows_of
from kdbench.board.load import Loaded
from kdbench.board.rows import has_score
from kdbench.render.palette import Look, family_looks
from kdbench.utils.formatting import on_one_line

Value = dict[str, Any]
"""The plotted fields of one row: ``family``, ``score``; ``low`` and ``high``, the ends of an interval."""
NAME_LIMIT = 40
"""The length of a row's name that fits beside an axis."""


@dataclass(frozen=True)
class DrawnRow:
    """A plotted row, which has a score."""

    row: Row
    """The row of the table of rows."""
    name: str
    family: str
    look: Look
    seed_scores: tuple[float, ...]
    key: str | None
    """The cell whose model was timed."""

    @property
    def score(self) -> float:
        """The mean over seeds in percent."""
        return 100 * float(self.row["score"])

    @property
    def interval(self) -> tuple[float, float] | None:
        """The ends of the score's interval in percent."""
        low, high = self.row["score_low"], self.row["score_high"]
        return None if low is None or high is None else (100 * low, 100 * high)

    @property
    def value(self) -> Value:
        """The fields that its score is plotted from."""
        low, high = self.interval or (None, None)
        return {"family": self.family, "score": self.score, "low": low, "high": high}


def shown_name(strategy: str, *, is_teacher: bool) -> str:
    """Return the name of a row as plots show it."""
    return on_one_line(strategy, NAME_LIMIT) + (" (teacher)" if is_teacher else "")


def drawn_rows(rows: pd.DataFrame, loaded: Loaded) -> list[DrawnRow]:
    """Return those of `rows` that have a score; `loaded` has the cells of the whole table, with records and timings."""
    families = {record.strategy.label: record.strategy.family for record in loaded.records}
    looks = family_looks(families.values())
    timed = {model.key for timing in loaded.timings for model in timing.models}
    cells: dict[tuple[str, str], list[Row]] = {}
    for cell in rows_of(loaded.cells):
        cells.setdefault((cell["task"], cell["strategy"]), []).append(cell)
    drawn = []
    for row in filter(has_score, rows_of(rows)):
        own = cells[row["task"], row["strategy"]]
        family = families[row["strategy"]]
        drawn.append(
            DrawnRow(
                row=row,
                name=shown_name(row["strategy"], is_teacher=row["is_teacher"]),
                family=family,
                look=looks[family],
                seed_scores=tuple(100 * cell["score"] for cell in own),
                key=next((cell["key"] for cell in own if cell["key"] in timed), None),
            )
        )
    return drawn
