"""Places on a board, shared by models that were not shown to differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from kdbench.stats.resampling import Flags


@dataclass(frozen=True)
class TieRank:
    """A model's place."""

    rank: int
    """From 1, which is the best."""
    tied: bool
    """Whether others share it."""

    def __str__(self) -> str:
        return f"{self.rank}{'=' if self.tied else ''}"


def tie_ranks(scores: Sequence[float], differs: Flags) -> list[TieRank | None]:
    """Return each model's place.

    The models are taken from the highest score down. The best leads a group; the models after it join the group
    until one is shown to differ from its leader. That one leads the next group, whose rank is 1 and the number of
    models in the groups before; and so on. Of equal scores those that join the present group are taken first, so that
    models that answer alike never stand in two groups.

    "Not shown to differ" is no equivalence: where a and b are not told apart, nor b and c, a and c may well be. Only
    the leader counts, so that two members of a group may differ from each other, and a model that differs from no
    member of the group above except its leader still stands below. A rank says: shown to be worse than a model of
    every better rank.

    Args:
        scores: (models,), of which more is better; NaN is a model without a score.
        differs: (models, models), symmetric: whether the two were shown to differ.

    Returns:
        A place a model, None of NaN.
    """
    values = np.asarray(scores, dtype=np.float64)
    best_first = [int(i) for i in np.argsort(-values, kind="stable") if not np.isnan(values[i])]
    groups: list[list[int]] = []
    for _, equal in groupby(best_first, key=lambda model: values[model]):
        for model in _joining_first(list(equal), groups, differs):
            if not groups or differs[groups[-1][0], model]:
                groups.append([])
            groups[-1].append(model)
    ranks: list[TieRank | None] = [None] * len(values)
    placed = 0
    for group in groups:
        for model in group:
            ranks[model] = TieRank(placed + 1, tied=len(group) > 1)
        placed += len(group)
    return ranks


def _joining_first(equal: list[int], groups: list[list[int]], differs: Flags) -> list[int]:
    """Return models of one score, those that join the present group before those that do not."""
    if not groups:
        return equal
    leader = groups[-1][0]
    return sorted(equal, key=lambda model: bool(differs[leader, model]))
