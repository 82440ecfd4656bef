"""Predict whether more seeds, or only more examples, would settle how two rows compare."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from scipy.special import ndtr, ndtri

from kdbench.stats.bootstrap import Resampled, difference_by_seed
from kdbench.stats.comparisons import Pair, PairedSeeds, PairwiseDifferences
from kdbench.stats.seed_variance import SeedSpread, own_spread
from kdbench.stats.sequential import SequentialClaims

FUTILE = 0.1
"""The chance of being settled below which a pair is not worth a seed."""
MOST_SEEDS = 100
"""The largest number of seeds that is considered."""


@dataclass(frozen=True)
class OneSided:
    """A one-sided test of the difference between two rows."""

    level: float
    find_bound: Callable[[], float]
    """Returns `bound_now`; called only where that matters, since it takes milliseconds."""

    @cached_property
    def bound_now(self) -> float:
        """How large an error is exceeded with probability `level` with the present seeds (`PairwiseErrors.bound`)."""
        return self.find_bound()


@dataclass(frozen=True)
class Prospect:
    """The difference between two rows, and how its error shrinks when seeds are added to both.

    The variance of the difference is `shared` plus what the seeds of each row contribute, divided by their number.
    """

    difference: float
    shared: float
    """The variance from what all seeds find hard in the same examples: only a larger test set makes it smaller."""
    of_seeds: tuple[tuple[float, int], ...]
    """What a single seed contributes and how many there are now, for each row, or for the differences seed by seed."""
    margin: float
    differ: OneSided
    close: OneSided
    a_is_close: bool = False
    b_is_close: bool = False
    """Whether a row is already shown to be less than the margin worse than the other."""
    is_optimistic: bool = False
    """Whether to take the variances for known."""

    def chance(self, seeds: float) -> float:
        """Return the probability that the pair is settled by the test with `seeds` seeds, given what is known now.

        It is settled where the rows are shown to differ or to be equivalent. The difference that is then observed
        varies around the present one by what the new seeds change: their predictive power (Spiegelhalter, Freedman &
        Blackburn 1986). Giving up for a low one makes no test err more often (Lachin 2005, doi:10.1002/sim.2151).
        """
        differ, low, high = self._settling(seeds)
        moves = sum(variance * max(0.0, 1 / now - 1 / seeds) for variance, now in self.of_seeds)
        ends = np.array([-differ, differ, max(low, -differ), min(high, differ)])
        below = ndtr((ends - self.difference) / max(math.sqrt(moves), 1e-12))
        return float(below[0] + 1 - below[1] + max(0.0, below[3] - below[2]))

    def seeds_needed(self) -> int | None:
        """Return the fewest further seeds that would settle the pair if its difference stayed; None if none would."""
        now = min(count for _, count in self.of_seeds)
        for seeds in range(now + 1, MOST_SEEDS + 1):
            if self._would_settle(seeds):
                return seeds - now
        return None

    def is_limited_by_examples(self) -> bool:
        """Return whether no number of seeds would settle the pair on these examples if its difference stayed."""
        return not self._would_settle(math.inf)

    def examples_needed(self) -> float:
        """Return how many times as many examples would settle the pair if its difference stayed, with many seeds."""
        z_differ, z_close = (_normal(test.level) for test in (self.differ, self.close))
        size = abs(self.difference)
        largest_error = max(size / z_differ, (self.margin - size) / z_close)
        return max(1.0, self.shared / largest_error**2)

    def _would_settle(self, seeds: float) -> bool:
        differ, low, high = self._settling(seeds)
        return abs(self.difference) >= differ or low <= self.difference <= high

    def _settling(self, seeds: float) -> tuple[float, float, float]:
        """Return the difference that would be significant, and the ends of those that would be equivalent."""
        close = self.margin - self.bound(self.close, seeds)
        return (
            self.bound(self.differ, seeds),
            -math.inf if self.a_is_close else -close,
            math.inf if self.b_is_close else close,
        )

    def bound(self, test: OneSided, seeds: float) -> float:
        """Return the error that `test`, one of this prospect's, would allow for with `seeds` seeds.

        In units of the standard error, a quantile exceeds the normal one about in proportion to 1 / degrees of freedom.
        On the spreads of `leaderboards/standard`, the prediction from three seeds is 0.8 to 1.4 times what ten then have.
        """
        now = min(count for _, count in self.of_seeds)
        error_now = math.sqrt(self._variance(None))
        if error_now == 0:
            return 0.0
        normal, error = _normal(test.level), math.sqrt(self._variance(seeds))
        if self.is_optimistic or math.isinf(seeds):
            return normal * error
        excess = max(0.0, test.bound_now / error_now - normal)
        return (normal + excess * max(1, now - 1) / (seeds - 1)) * error

    def _variance(self, seeds: float | None) -> float:
        return self.shared + sum(variance / (seeds or now) for variance, now in self.of_seeds)


def _normal(level: float) -> float:
    return float(-ndtri(level))


ResampledRow = tuple[Resampled, SeedSpread | None]
"""The scores of a row on resampled test sets, and the estimated spread of its seeds."""


def prospects(
    claims: SequentialClaims,
    rows: Mapping[str, ResampledRow],
    pairs: PairwiseDifferences,
    paired: Mapping[Pair, PairedSeeds],
) -> dict[tuple[str, str], Prospect]:
    """Return the prospect of each open pair of `claims`.

    Args:
        claims: what is shown so far.
        rows: at least those that may be the best, in the order of `pairs`.
        pairs: their differences.
        paired: the rows that are paired seed by seed, by their places.
    """
    places = {row: place for place, row in enumerate(rows)}
    found = {}
    for a, b in claims.open_pairs():
        first, second = places[a], places[b]
        shared, of_seeds = parts_of_variance(rows[a], rows[b], paired.get((first, second)))
        found[a, b] = Prospect(
            difference=float(pairs.difference[first, second]),
            shared=shared,
            of_seeds=of_seeds,
            margin=claims.design.margin,
            differ=_test(claims.level_of_difference / 2, first, second, pairs),
            close=_test(claims.level_of_closeness, first, second, pairs),
            a_is_close=claims.is_close(a, b),
            b_is_close=claims.is_close(b, a),
        )
    return found


def worth_a_seed(prospects: Mapping[tuple[str, str], Prospect], max_seeds: int) -> set[str]:
    """Return the rows of the pairs that up to `max_seeds` seeds may settle."""
    return {row for pair, prospect in prospects.items() if _has_chance(prospect, max_seeds) for row in pair}


def _has_chance(prospect: Prospect, seeds: int) -> bool:
    # Most pairs have none even if variances were known, which is found much faster.
    return all(one.chance(seeds) >= FUTILE for one in (replace(prospect, is_optimistic=True), prospect))


def _test(level: float, a: int, b: int, pairs: PairwiseDifferences) -> OneSided:
    return OneSided(level, partial(pairs.errors.bound, a, b, level))


def parts_of_variance(
    a: ResampledRow,
    b: ResampledRow,
    paired: PairedSeeds | None = None,
) -> tuple[float, tuple[tuple[float, int], ...]]:
    """Return `shared` and `of_seeds` of a `Prospect`.

    Args:
        a: one row, resampled as the other, with the estimated spread of its seeds.
        b: the other row.
        paired: their seeds, if they are paired seed by seed.
    """
    models: list[ResampledRow]
    if paired is not None:
        difference = difference_by_seed(a[0], b[0], paired.places)
        models, from_examples = [(difference, paired.spread)], float(difference.means.var(ddof=1))
    else:
        models, from_examples = [a, b], float((a[0].means - b[0].means).var(ddof=1))
    shared = from_examples - sum(model.own_examples_variance / len(model.scores) for model, _ in models)
    of_seeds = tuple((_of_one_seed(model, spread), len(model.scores)) for model, spread in models)
    return max(0.0, shared), of_seeds


def _of_one_seed(model: Resampled, given: SeedSpread | None) -> float:
    spread = given or own_spread(np.asarray(model.scores).tolist())
    return max(model.own_examples_variance, spread.variance if spread else 0.0)
