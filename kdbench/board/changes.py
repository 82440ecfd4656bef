"""What became of the rows of older records in newer ones."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import pandas as pd

from kdbench.board.columns import has_score
from kdbench.board.frames import Row
from kdbench.stats import Difference


class Kind(str, Enum):
    """What became of a row, in the order in which rows are listed."""

    WORSE = "worse"
    FAILS = "fails now"
    GONE = "gone"
    BETTER = "better"
    WORKS = "works now"
    NEW = "new"
    NOT_COMPARABLE = "not comparable"
    NOT_SHOWN = "not shown to differ"
    SAME = "the same run"
    UNSCORED = "no score in either"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Change:
    """What became of one row on one task."""

    task: str
    strategy: str
    kind: Kind
    before: Row | None
    """The row of the older table; None where the row is new."""
    after: Row | None
    """The row of the newer table; None where the row is gone."""
    difference: Difference | None = None
    """How much better the row scores now, on the same examples; None where that cannot be told."""
    p_holm: float | None = None
    """The p of `difference` by Holm over all rows that were compared so."""
    seeds_are_known: bool = True
    """Whether the luck of seeds is in `difference`; otherwise it speaks of these trained models alone."""
    is_by_scores: bool = False
    """Whether the kind follows from the scores' own intervals, since there is no `difference`."""
    note: str = ""
    """Why there is no score, or how scores were compared where there is no `difference`."""
    costs: tuple[str, ...] = ()
    """What became of size and speed, a phrase each."""

    @property
    def is_regression(self) -> bool:
        """Whether something is lost: the row is shown worse, or had a score and has none any more."""
        lost = self.kind is Kind.GONE and self.before is not None and has_score(self.before)
        return lost or self.kind in (Kind.WORSE, Kind.FAILS)


@dataclass(frozen=True)
class Changes:
    """What became of all rows, by task, kind and name, and what must be known of the two sets of records."""

    rows: tuple[Change, ...]
    before: pd.DataFrame
    after: pd.DataFrame
    """The tables of cells that were held against each other."""
    remarks: tuple[str, ...]
    left_out: tuple[str, ...]
    """A line for each of the older records that are not among `before`."""
    unreadable: tuple[str, ...]
    """A line, which names a file, for each of the older files that could not be read."""

    @property
    def regressions(self) -> tuple[Change, ...]:
        """The rows that lost something."""
        return tuple(change for change in self.rows if change.is_regression)

    def count(self, kind: Kind) -> int:
        """Return how many rows are of this kind."""
        return sum(change.kind is kind for change in self.rows)
