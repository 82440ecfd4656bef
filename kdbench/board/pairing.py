"""Pair rows seed by seed: rows made from the same trained models, and a row with its older self."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import combinations

from kdbench.board.frames import Row
from kdbench.stats.comparisons import Pair
from kdbench.stats.seed_variance import SeedSpread, seed_spreads


class Pairing:
    """Which rows of one task are paired seed by seed, and how much their differences vary over seeds.

    The model of seed s of a row like int8 was made from the model of seed s of the row that it changes. What luck that
    training had is in both scores and cancels out of their difference.

    Args:
        cells: each row's cells, one per seed in the order of the seeds; all have a score.
    """

    def __init__(self, cells: Mapping[str, Sequence[Row]]) -> None:
        self._cells = cells

    def are_paired(self, a: str, b: str) -> bool:
        """Return whether both rows were made from the same trained models, with the same seeds."""
        known = a in self._cells and b in self._cells
        return known and self.root(a) == self.root(b) and self._seeds(a) == self._seeds(b)

    def spreads(self, rows: Sequence[str]) -> dict[Pair, SeedSpread | None]:
        """Return the spread over seeds of the difference of each pair of `rows` that is paired, by their places.

        It is moderated by how the task's derived rows differ from what they were made from.
        """
        pairs = [
            (a, b) for (a, one), (b, other) in combinations(enumerate(rows), 2) if self.are_paired(one, other)
        ]
        differences = [self._differences(rows[a], self, rows[b]) for a, b in pairs]
        return dict(zip(pairs, seed_spreads(differences, like=self._losses), strict=True))

    def change(self, row: str, before: Pairing) -> dict[Pair, SeedSpread | None]:
        """Return the spread over seeds of the change of `row` since `before`, for places 0 and 1; empty if not paired.

        It is moderated by the changes of the other rows with the same seeds on both sides.
        """
        if self._seeds(row) != before._seeds(row):
            return {}
        shared = [
            name for name in self._cells if name in before._cells and self._seeds(name) == before._seeds(name)
        ]
        changes = [self._differences(name, before, name) for name in shared]
        # A row that is the same run on both sides says nothing of the others.
        like = [change for change in changes if any(change)]
        return {(0, 1): seed_spreads([changes[shared.index(row)]], like=like)[0]}

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

    def _differences(self, row: str, other: Pairing, other_row: str) -> list[float]:
        """Return the differences seed by seed, without errors of rounding, of which a variance could be made."""
        pairs = zip(self._cells[row], other._cells[other_row], strict=True)
        return [round(cell["score"] - twin["score"], 12) for cell, twin in pairs]
