"""Judge the comparisons that a task's page declares beforehand, as one family: each row with its controls and its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kdbench.board.statistics import ALPHA, TaskStatistics
from kdbench.stats.comparisons import holm

RELATIONS = {"control": "control", "base": "base_control", "source": "derived_from"}
"""The names of the declared comparisons, and the column of rows that names the other row."""


@dataclass(frozen=True)
class Claim:
    """How much better a row scored than one that it is declared to be compared with."""

    low: float
    high: float
    """The bounds of an interval; with 95% all intervals of the page hold at once (Bonferroni)."""
    p: float
    p_holm: float
    """Holm-corrected over the declared comparisons of the page."""
    is_no_loss: bool
    """Whether the two are shown to differ by less than the margin: two one-sided tests at 5%, Holm-corrected over the
    comparisons with a source."""


Claims = Mapping[tuple[str, str], Claim]
"""By the row and the name of the relation."""


def declared_claims(rows: pd.DataFrame, statistics: TaskStatistics, margin: float) -> Claims:
    """Return the declared comparisons among the `rows` of one task; `margin` is that of "no loss"."""
    pairs, places = statistics.pairs, {row: place for place, row in enumerate(statistics.rows)}
    if pairs is None:
        return {}
    found = [
        (row, relation, places[row], places[other])
        for relation, column in RELATIONS.items()
        for row, other in zip(rows["strategy"], rows[column], strict=True)
        if row in places and other in places
    ]
    if not found:
        return {}
    p = np.array([pairs.p[a, b] for _, _, a, b in found])
    p_holm = holm(p)
    no_loss = pairs.equivalence_p(margin)
    p_no_loss = holm([no_loss[a, b] if relation == "source" else np.nan for _, relation, a, b in found])
    claims = {}
    for place, (row, relation, a, b) in enumerate(found):
        low, high = pairs.interval(a, b, ALPHA / len(found))
        is_no_loss = bool(p_no_loss[place] < ALPHA)  # False for NaN
        claims[row, relation] = Claim(low, high, float(p[place]), float(p_holm[place]), is_no_loss)
    return claims
