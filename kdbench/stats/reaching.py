"""Find how many labelled examples one model needs to score what another scores, with an interval of that count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.stats.bootstrap import TAILS, Resampled
from kdbench.stats.crossings import Curve, last_changes
from kdbench.stats.intervals import drawn_means
from kdbench.stats.seed_variance import SeedSpread


@dataclass(frozen=True)
class Reached:
    """The count from which on a model scores more than another, to the largest count."""

    count: float
    """Minus infinity where it does at every count, infinity where it does not at the largest."""
    low: float
    high: float
    """The bounds of the 95% interval of `count`, either of which may be infinite."""


def reached(
    counts: Sequence[float], curve: Curve, level: tuple[Resampled, SeedSpread | None], *, seed: int = 0
) -> Reached:
    """Return the number of labelled examples at which the scores of `curve` reach the score `level`, by a paired bootstrap.

    Scores are interpolated linearly on the logarithm of the count, and resampled as in `crossing`: the same examples for the
    model and all counts of the curve, and for each the variation of its seeds.

    Args:
        counts: (counts,), ascending.
        curve: results of `resample` with one seed on one test set; one per count.
        level: likewise, of the model to reach.
        seed: of the draws of the seeds' variation.

    Raises:
        ValueError: the curve has not one entry per count, or the models were not scored on the same number of examples.
    """
    if len(counts) != len(curve):
        raise ValueError(f"{len(counts)} counts need as many scores, but there are {len(curve)}")
    if len({model.units for model, _ in (*curve, level)}) != 1:
        raise ValueError("the models were not scored on the same examples")
    positions = np.log2(np.asarray(counts, dtype=np.float64))
    first, *streams = np.random.default_rng(seed).spawn(1 + len(counts))
    target = drawn_means(*level, first)
    drawn = np.stack(
        [
            drawn_means(model, spread, stream) - target
            for (model, spread), stream in zip(curve, streams, strict=True)
        ],
        axis=1,
    )
    observed = np.array([[model.scores.mean() - level[0].scores.mean() for model, _ in curve]])
    low, high = np.quantile(_positions(positions, drawn), TAILS, method="inverted_cdf")
    count = float(_positions(positions, observed)[0])
    return Reached(*(float(2**place) if place > -np.inf else -np.inf for place in (count, low, high)))


def _positions(positions: np.ndarray, leads: np.ndarray) -> np.ndarray:
    """Return where each of `leads` (draws, counts) becomes positive for good; -inf or inf where it always or never is."""
    changes = last_changes(positions, leads)
    always = np.where(changes.sign > 0, -np.inf, np.inf)
    return np.where((changes.sign > 0) & (changes.number > 0), changes.position, always)
