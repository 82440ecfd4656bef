"""Pair rows seed by seed: rows made from the same trained models, and a row with its older self."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import combinations
from statistics import fmean

from kdbench.board.frames import Row
from kdbench.stats.comparisons import Pair, PairedSeeds
from kdbench.stats.seed_variance import seed_spreads


class Pairing:
    """Which rows of one task are paired seed by seed, and how much their differences vary over seeds.

    The model of seed s of a row like int8 was made from the model of seed s of the row that it changes. What luck that
    training had is in both scores and cancels out of their difference. Where one row has more seeds, the difference is
    that over the seeds that both have: the others would only add their luck.

    Args:
        cells: each row's cells, one per seed in the order of the seeds; all have a score.
    """

    def __init__(self, cells: Mapping[str, Sequence[Row]]) -> None:
        self._cells = cells

    def are_paired(self, a: str, b: str) -> bool:
        """Return whether both rows were made from the same trained models, with some seed in both."""
        known = a in self._cells and b in self._cells
        return known and self.root(a) == self.root(b) and bool(self._places(a, self, b)[0])

    def means(self, a: str, b: str) -> tuple[float, float]:
        """Return the mean scores of two paired rows over the seeds that both have."""
        first, second = self._scores(a, self, b)
        return fmean(first), fmean(second)

    def spreads(self, rows: Sequence[str]) -> dict[Pair, PairedSeeds]:
        """Return the seeds of each pair of `rows` that is paired, by their places.

        The spread of their difference is moderated by how the task's derived rows differ from what they were made from.
        """
        pairs = [
            (a, b) for (a, one), (b, other) in combinations(enumerate(rows), 2) if self.are_paired(one, other)
        ]
        differences = [self._differences(rows[a], self, rows[b]) for a, b in pairs]
        spreads = seed_spreads(differences, like=self._losses)
        return {
            (a, b): PairedSeeds(spread, self._places(rows[a], self, rows[b]))
            for (a, b), spread in zip(pairs, spreads, strict=True)
        }

    def change(self, row: str, before: Pairing) -> dict[Pair, PairedSeeds]:
        """Return the seeds of `row` now and in `before`, for places 0 and 1; empty if they are not the same.

        The spread of the change is moderated by the changes of the other rows with the same seeds on both sides.
        """
        if self._seeds(row) != before._seeds(row):
            return {}
        shared = [
            name for name in self._cells if name in before._cells and self._seeds(name) == before._seeds(name)
        ]
        changes = [self._differences(name, before, name) for name in shared]
        # A row that is the same run on both sides says nothing of the others.
        like = [change for change in changes if any(change)]
        (spread,) = seed_spreads([changes[shared.index(row)]], like=like)
        return {(0, 1): PairedSeeds(spread, self._places(row, before, row))}

    @cached_property
    def _losses(self) -> list[list[float]]:
        pairs = [(row, self.root(row)) for row in self._cells]
        return [
            self._differences(row, self, root)
            for row, root in pairs
            if row != root and self.are_paired(row, root)
        ]

    def root(self, row: str) -> str:
        """Return the row that `row` was made from, through all stages; itself where it was trained."""
        while row in self._cells and (source := self._cells[row][0]["derived_from"]) is not None:
            row = source
        return row

    def _seeds(self, row: str) -> list[int]:
        return [cell["seed"] for cell in self._cells[row]]

    def _places(self, row: str, other: Pairing, other_row: str) -> tuple[list[int], list[int]]:
        """Return where the seeds that both rows have are among those of either."""
        seeds, others = self._seeds(row), other._seeds(other_row)
        shared = [seed for seed in seeds if seed in others]
        return [seeds.index(seed) for seed in shared], [others.index(seed) for seed in shared]

    def _scores(self, row: str, other: Pairing, other_row: str) -> tuple[list[float], list[float]]:
        """Return the scores of both rows with the seeds that both have."""
        places, others = self._places(row, other, other_row)
        cells, other_cells = self._cells[row], other._cells[other_row]
        return [cells[place]["score"] for place in places], [other_cells[place]["score"] for place in others]

    def _differences(self, row: str, other: Pairing, other_row: str) -> list[float]:
        """Return the differences seed by seed, without errors of rounding, of which a variance could be made."""
        return [round(a - b, 12) for a, b in zip(*self._scores(row, other, other_row), strict=True)]
