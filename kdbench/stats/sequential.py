"""Keep the error rate of tests while seeds are added: what is shown at any look holds with all else that is shown.

**Decided.** Rows of one task are compared after each added seed, and each is in the end one of three:

- *worse*: another row is shown to be better, however little. It cannot be the best, and gets no more seeds;
- *good enough*: it is shown to be less than the margin worse than each row that is not *worse*, hence than the best;
- *open*: neither is shown.

A task is decided when no row is open: the rows that may be the best are then pairwise equivalent within the margin, and
any of them can be recommended. Since a row that is worse by less than the margin may be shown to be either, every row
can be decided, given enough seeds and examples; how many, says `kdbench.stats.prospects`.

**Error rate.** With at least 95%, all that is said of a task at any look is true. Half of the 5% is for differences, half
for *good enough*, and each half is divided evenly among the looks whose number is fixed before the first (Bonferroni).
That is conservative, since looks share data, but needs neither normal scores nor a known variance, as the boundaries of
Pocock and of O'Brien and Fleming, and always-valid tests, do: three seeds show too little of a variance for these. At
each look, Holm's correction is over all pairs of rows, and over all rows: what was shown at an earlier look is not
tested again and frees its share, what is not tested counts as not shown. This is the group sequential Holm procedure
(reviewed by Tamhane, Xi & Gou 2021, doi:10.1002/sim.9128) with Bonferroni's boundary. The first false claim needs a
p-value below level / m0 of one of the m0 true hypotheses at some look, since all that was shown before is false; the
chances of these sum up to the level. Rows are tested only where they have all seeds of a look, so that how many seeds a
test is based on is fixed, and rows may stop, or be resumed, for any reason.

*Good enough* is an intersection-union test: a row that loses the margin or more against the best loses it against a row
that is not worse, so that one of the tests against these has to err.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.stats.bootstrap import Flags, Floats
from kdbench.stats.comparisons import PairwiseDifferences, holm


@dataclass(frozen=True)
class Design:
    """What is fixed before the first look."""

    margin: float
    """By how much a row may be worse than the best and still be good enough, in units of the score."""
    first_seeds: int
    """The seeds of every row at the first look; one is added for each further look."""
    max_seeds: int
    """The seeds at the last look."""
    alpha: float = 0.05
    """The probability of any false claim."""

    @property
    def looks(self) -> int:
        """The number of looks."""
        return self.max_seeds - self.first_seeds + 1

    @property
    def level(self) -> float:
        """The level of either family of tests at one look."""
        return self.alpha / (2 * self.looks)


class SequentialClaims:
    """What is shown of the rows of one task, at any look so far.

    Args:
        rows: all rows that are compared, at least one.
        design: what was fixed before.
    """

    def __init__(self, rows: Sequence[str], design: Design) -> None:
        self.rows = tuple(rows)
        self.design = design
        self._differ: Flags = np.zeros((len(rows), len(rows)), dtype=np.bool_)
        """(rows, rows), symmetric: shown to differ."""
        self._close: Flags = np.zeros((len(rows), len(rows)), dtype=np.bool_)
        """(rows, rows): row i is shown to be less than the margin worse than row j."""
        self._worse_than: dict[str, str] = {}
        self._lost: set[str] = set()

    def lose(self, rows: Collection[str]) -> None:
        """Leave out `rows` that have no score any more, since a seed failed: the best is the best of the others."""
        self._lost.update(rows)

    @property
    def worse_than(self) -> dict[str, str]:
        """Each row that is shown to be worse, with the best row that showed it first."""
        return dict(self._worse_than)

    @property
    def may_be_best(self) -> tuple[str, ...]:
        """The rows that are not shown to be worse than another."""
        return tuple(row for row in self.rows if row not in self._worse_than and row not in self._lost)

    @property
    def good_enough(self) -> tuple[str, ...]:
        """The rows that are shown to be less than the margin worse than the best."""
        best = [self.rows.index(row) for row in self.may_be_best]
        return tuple(
            row
            for place, row in enumerate(self.rows)
            if row not in self._lost and all(self._close[place, other] for other in best if other != place)
        )

    @property
    def open(self) -> tuple[str, ...]:
        """The rows that are shown to be neither."""
        good_enough = self.good_enough
        return tuple(row for row in self.may_be_best if row not in good_enough)

    def is_close(self, row: str, other: str) -> bool:
        """Return whether `row` is shown to be less than the margin worse than `other`."""
        return bool(self._close[self.rows.index(row), self.rows.index(other)])

    def open_pairs(self) -> list[tuple[str, str]]:
        """Return the pairs of rows that may be the best and are not shown to be equivalent within the margin."""
        rows = self.may_be_best
        return [
            (a, b)
            for place, a in enumerate(rows)
            for b in rows[place + 1 :]
            if not (self.is_close(a, b) and self.is_close(b, a))
        ]

    @property
    def level_of_difference(self) -> float:
        """The two-sided level at which the next pair would be shown to differ."""
        pairs = len(self.rows) * (len(self.rows) - 1) // 2
        return self.design.level / max(1, pairs - int(self._differ.sum()) // 2)

    @property
    def level_of_closeness(self) -> float:
        """The one-sided level at which the next row would be shown to be close to another."""
        return self.design.level / max(1, len(self.rows) - len(self.good_enough))

    def look(self, rows: Sequence[str], pairs: PairwiseDifferences, tested: Collection[str]) -> None:
        """Add what a look shows.

        Args:
            rows: those of `pairs`, in their order.
            pairs: their differences.
            tested: those of `rows` that have all seeds of this look.
        """
        there = [place for place, row in enumerate(rows) if row in tested]
        here = [self.rows.index(rows[place]) for place in there]
        difference, p, p_close = (
            self._spread_out(values, there, here, missing)
            for values, missing in (
                (pairs.difference, 0.0),
                (pairs.p, 1.0),
                (pairs.noninferiority_p(self.design.margin), 1.0),
            )
        )
        self._show_differences(difference, p)
        self._show_closeness(p_close)

    def _spread_out(self, values: Floats, there: list[int], here: list[int], missing: float) -> Floats:
        """Return (rows, rows) with the `values` of the tested rows, and `missing` elsewhere."""
        spread: Floats = np.full(self._differ.shape, missing)
        spread[np.ix_(here, here)] = values[np.ix_(there, there)]
        return spread

    def _show_differences(self, difference: Floats, p: Floats) -> None:
        above = np.triu_indices(len(self.rows), k=1)
        corrected = holm(np.where(self._differ, np.nan, p)[above])
        shown = np.zeros_like(self._differ)
        shown[above] = np.nan_to_num(corrected, nan=1.0) < self.design.level
        shown |= shown.T
        self._differ |= shown
        for better in np.argsort(-difference.sum(axis=1), kind="stable"):
            for worse in np.flatnonzero(shown[better] & (difference[better] > 0)):
                self._worse_than.setdefault(self.rows[worse], self.rows[better])

    def _show_closeness(self, p: Floats) -> None:
        while True:
            level = self.level_of_closeness
            self._close |= p < level
            if self.level_of_closeness == level:
                return
