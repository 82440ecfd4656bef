"""How long a training loop trains, and on which batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from kdbench.data.batches import length_grouped_batches


@dataclass(frozen=True)
class Schedule:
    """How long to train, on what, from which seeds."""

    steps: int
    batch_size: int
    learning_rate: float
    evaluations: int
    data_seed: int
    dropout_seed: int

    def batches(self, lengths: Sequence[int], *, taken: int = 0) -> list[list[int]]:
        """Return the rows of each step's batch, as numbers, after the first `taken` batches of their order.

        Args:
            lengths: the rows' lengths.
        """
        order = length_grouped_batches(lengths, self.batch_size, self.data_seed)
        return list(islice(order, taken, taken + self.steps))
