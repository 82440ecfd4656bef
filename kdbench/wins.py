"""On how many examples one row's answers are better than another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdbench.board.scored import Scored

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Wins:
    """Scored examples, those of each seed counted by themselves."""

    wins: int
    """On which the first row is right and the second is not; in regression, nearer to the right value."""
    ties: int
    losses: int


def count_wins(a: Scored, b: Scored, seeds: Sequence[int]) -> Wins | None:
    """Return on how many examples `a` is better than `b`, alike and worse; None where there are no `seeds`.

    An example of several words is right where all of its words are.

    Args:
        a: one row's answers.
        b: another's, to the same examples.
        seeds: those that both rows have.
    """
    if not seeds:
        return None
    ahead = np.concatenate([_errors(b, seed) - _errors(a, seed) for seed in seeds])
    return Wins(int((ahead > 0).sum()), int((ahead == 0).sum()), int((ahead < 0).sum()))


def _errors(scored: Scored, seed: int) -> Floats:
    """Return (examples,): 0 of a right answer and 1 of a wrong one; in regression how far off it is."""
    pairs = zip(scored.answers(seed), scored.references(), strict=True)
    if scored.labels:
        return np.array([not np.array_equal(answer, right) for answer, right in pairs], dtype=np.float64)
    return np.array([abs(float(answer[0]) - float(right[0])) for answer, right in pairs])
