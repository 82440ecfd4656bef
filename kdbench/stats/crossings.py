"""Find where one model overtakes another as the labelled examples become more, with an interval of that count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdbench.stats.bootstrap import TAILS, Floats, Resampled
from kdbench.stats.intervals import drawn_means
from kdbench.stats.seed_variance import SeedSpread

Curve = Sequence[tuple[Resampled, SeedSpread | None]]
"""One model at ascending label counts: its scores, and the estimated spread of its seeds."""


@dataclass(frozen=True)
class Crossing:
    """Where the difference of two models changes its sign for the last time, from the fewest labels to the most."""

    count: float | None
    """None where it never does."""
    low: float | None
    high: float | None
    """The bounds of the 95% interval of `count`; None where it reaches below the smallest or above the largest count, and
    where there is no `count`."""
    changes: int
    """How often the difference changes its sign."""
    share: float
    """The share of resamples in which it does so at least once."""
    first_leads: bool
    """Whether the first model is ahead after the last change; without one, at all counts."""


def crossing(counts: Sequence[float], first: Curve, second: Curve, *, seed: int = 0) -> Crossing:
    """Return where one of two models overtakes the other, by a paired bootstrap.

    The difference of the mean scores is interpolated linearly on the logarithm of the count. A resample draws examples
    with replacement, the same for both models at all counts, and for each model and count the variation of its seeds
    (see `bootstrap_interval`), independently of the others. The interval has the 2.5% and 97.5% quantiles of the
    resamples' crossings in the direction of the observed one: a resample in which the later leader is ahead at all
    counts has its crossing below the smallest, one in which it is not ahead in the end has it above the largest.

    It covers what the scores' intervals cover: other test sets, and other seeds if there are several. In simulations of one
    crossing on 600 examples, 95% intervals cover it in 94% of draws with one seed and 98% with three; in 92% where the two
    models differ so little that the opposite one is found in 3%, and none in 5%.

    Args:
        counts: (counts,), ascending.
        first: results of `resample` with one seed on one test set; one per count.
        second: likewise, with the same seed and on the same test set.
        seed: of the draws of the seeds' variation.

    Raises:
        ValueError: a curve has not one entry per count, or the models were not scored on the same number of examples.
    """
    if not len(counts) == len(first) == len(second):
        raise ValueError(
            f"{len(counts)} counts need as many scores, but there are {len(first)} and {len(second)}"
        )
    if len({model.units for model, _ in (*first, *second)}) != 1:
        raise ValueError("the models were not scored on the same examples")
    positions = np.log2(np.asarray(counts, dtype=np.float64))
    streams = iter(np.random.default_rng(seed).spawn(2 * len(counts)))
    drawn = [
        np.stack([drawn_means(model, spread, next(streams)) for model, spread in curve], axis=1)
        for curve in (first, second)
    ]
    observed = np.array(
        [[a.scores.mean() - b.scores.mean() for (a, _), (b, _) in zip(first, second, strict=True)]]
    )
    return _summary(last_changes(positions, observed), last_changes(positions, drawn[0] - drawn[1]))


@dataclass(frozen=True, eq=False)
class Changes:
    """The changes of sign of several interpolated differences; all arrays are (differences,)."""

    position: Floats
    """Of the last change; NaN where there is none."""
    number: npt.NDArray[np.int64]
    sign: npt.NDArray[np.int64]
    """Of the last difference that is not 0; 0 where all are."""


def last_changes(positions: Floats, differences: Floats) -> Changes:
    """Return where each of `differences` (differences, counts) changes its sign, interpolated linearly at `positions`.

    Where it is 0 at one or several counts between two signs, it changes in the middle of these.
    """
    rows = len(differences)
    position, left, left_value, zeros_from = (np.full(rows, np.nan) for _ in range(4))
    number, sign = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)
    for place, value in zip(positions, differences.T, strict=True):
        here = np.sign(value).astype(np.int64)
        changes = (here != 0) & (sign != 0) & (here != sign)
        slope = np.where(changes, left_value - value, 1.0)
        between = left + left_value / slope * (place - left)
        at = np.where(np.isnan(zeros_from), between, (zeros_from + _previous(positions, place)) / 2)
        position = np.where(changes, at, position)
        number += changes
        zeros_from = np.where(here != 0, np.nan, np.where(np.isnan(zeros_from), place, zeros_from))
        left, left_value = np.where(here != 0, place, left), np.where(here != 0, value, left_value)
        sign = np.where(here != 0, here, sign)
    return Changes(position, number, sign)


def _previous(positions: Floats, place: float) -> float:
    """Return the position before `place`; `place` itself if it is the first."""
    return float(positions[max(0, int(np.searchsorted(positions, place)) - 1)])


def _summary(observed: Changes, drawn: Changes) -> Crossing:
    number, sign = int(observed.number[0]), int(observed.sign[0])
    share = float((drawn.number > 0).mean())
    if not number:
        return Crossing(None, None, None, 0, share, first_leads=sign > 0)
    beyond = np.where(drawn.sign == sign, -np.inf, np.inf)
    placed = np.where((drawn.sign == sign) & (drawn.number > 0), drawn.position, beyond)
    # Quantiles that are one of the values: between two infinite ones nothing can be interpolated.
    low, high = np.quantile(placed, TAILS, method="inverted_cdf")
    return Crossing(
        count=float(2 ** observed.position[0]),
        low=float(2**low) if np.isfinite(low) else None,
        high=float(2**high) if np.isfinite(high) else None,
        changes=number,
        share=share,
        first_leads=sign > 0,
    )
