"""How much better one model scored than another on the same examples, and whether that is more than luck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats

from kdbench.stats.bootstrap import (
    CONFIDENCE,
    RESAMPLES,
    Flags,
    Floats,
    Resampled,
    Score,
    mean_scores,
    resample,
    satterthwaite,
)
from kdbench.stats.seed_variance import SeedSpread


@dataclass(frozen=True)
class Difference:
    """How much better the first of two models scored on one test set."""

    difference: float
    """The first's score less the second's, each a mean over its seeds."""
    low: float
    high: float
    """The interval of `difference`, by t."""
    p: float
    """Two-sided: how often chance alone would show a difference as large, were there none."""
    standard_error: float
    df: float
    """The degrees of freedom of the standard error."""


@dataclass(frozen=True, eq=False)
class PairwiseDifferences:
    """Every model against every other; all arrays are (models, models), [i, j] of model i less model j."""

    difference: Floats
    standard_error: Floats
    df: Floats
    p: Floats
    """Two-sided, for each pair alone: see `holm_pairs`."""

    def interval(self, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
        """Return the low and high ends of the intervals of `difference`, for each pair alone."""
        half = scipy.stats.t.ppf((1 + confidence) / 2, self.df) * self.standard_error
        return self.difference - half, self.difference + half

    def of(self, a: int, b: int, confidence: float = CONFIDENCE) -> Difference:
        """Return how much better model `a` scored than model `b`, and the interval of that."""
        low, high = self.interval(confidence)
        return Difference(
            difference=float(self.difference[a, b]),
            low=float(low[a, b]),
            high=float(high[a, b]),
            p=float(self.p[a, b]),
            standard_error=float(self.standard_error[a, b]),
            df=float(self.df[a, b]),
        )


def paired_difference(
    a: Floats,
    b: Floats,
    score: Score,
    *,
    spread_a: SeedSpread | None = None,
    spread_b: SeedSpread | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Return how much better model a scored than model b on the same examples: `pairwise_differences` of the two.

    Args:
        a: (seeds of a, examples, k).
        b: (seeds of b, examples, k), of the same examples in the same order.
        score: turns sums of statistics (..., k) into scores (...).
        spread_a: what is known of a's seeds, as `seed_spreads` gives it; None takes the sample variance of these.
        spread_b: the same of b.
        confidence: the interval's nominal coverage.
        resamples: how many resamples are drawn.
        seed: fixes the draws.

    Raises:
        ValueError: the models were not scored on the same examples.
    """
    both = pairwise_differences([a, b], score, [spread_a, spread_b], resamples=resamples, seed=seed)
    return both.of(0, 1, confidence)


def pairwise_differences(
    models: Sequence[Floats],
    score: Score,
    spreads: Sequence[SeedSpread | None] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairwiseDifferences:
    """Return how much better each model scored than each other, by one paired bootstrap of the examples.

    A difference's variance is that of its bootstrap (Efron & Tibshirani 1993, ch. 6), and what each model's seeds
    add to it (`MeanScores`); two models' seeds count as independent, which asks for more evidence than is needed
    where a lucky seed helps both. p comes from Student's t with the degrees of freedom of the whole variance
    (Satterthwaite 1946), not from counting resamples, so that it can be small enough for hundreds of comparisons; but
    it is never below 2 / 2**examples, all that swapping the two models' answers could show (Noreen 1989).

    A model against one of the very same statistics, seed for seed, differs by exactly 0 with no error and p = 1.

    Args:
        models: each (its seeds, examples, k), of the same examples in the same order.
        score: turns sums of statistics (..., k) into scores (...).
        spreads: what is known of each model's seeds, as `seed_spreads` gives it; a None takes the model's own sample
            variance; a single seed without a spread adds nothing, and p is then for these very weights.
        resamples: how many resamples are drawn.
        seed: fixes the draws.

    Raises:
        ValueError: the models were not scored on the same examples, or there is another number of spreads.
    """
    resampled = resample(models, score, resamples=resamples, seed=seed)
    same = np.array([[np.array_equal(a, b) for b in models] for a in models])
    return resampled_differences(resampled, [None] * len(models) if spreads is None else spreads, same)


def resampled_differences(
    models: Sequence[Resampled], spreads: Sequence[SeedSpread | None], same: Flags
) -> PairwiseDifferences:
    """Return `pairwise_differences` of models that were resampled before, from one seed.

    Args:
        models: as `kdbench.stats.resample` gives them.
        spreads: what is known of each model's seeds, as `seed_spreads` gives it; a None takes the sample variance.
        same: (models, models): whether two have the very same statistics, seed for seed.

    Raises:
        ValueError: there is another number of spreads.
    """
    means = mean_scores(models, spreads)
    # The variance of differences, not a sum of covariances: of equal columns it is exactly 0.
    from_examples = np.stack(
        [(column[:, None] - means.resampled).var(axis=0, ddof=1) for column in means.resampled.T]
    )
    variance = from_examples + _sums(means.added_variance)
    added_terms = _sums(means.added_terms)
    df = satterthwaite(variance, from_examples, means.examples, added_terms)
    difference = np.subtract.outer(means.observed, means.observed)
    standard_error = np.where(same, 0.0, np.sqrt(variance))
    return PairwiseDifferences(
        difference=difference,
        standard_error=standard_error,
        df=df,
        p=_p(difference, standard_error, df, lowest=2.0 ** (1 - means.examples)),
    )


def _sums(values: Floats) -> Floats:
    """Return (models, models): the sum of each two of `values`."""
    sums: Floats = np.add.outer(values, values)
    return sums


def _p(difference: Floats, standard_error: Floats, df: Floats, lowest: float) -> Floats:
    # No error and yet a difference is infinitely many errors; no difference is none, whatever the error.
    far = np.where(difference == 0, 0.0, np.inf)
    t = np.divide(np.abs(difference), standard_error, out=far, where=standard_error > 0)
    p: Floats = np.maximum(2 * scipy.stats.t.sf(t, df), lowest)
    return p


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Return (n,) p-values of which the chance that any true null falls below alpha is at most alpha (Holm 1979).

    The smallest of n is multiplied by n, the next by n - 1, and so on; none is made less than one before it, or more
    than 1. NaN stands for a comparison that was not made: it stays NaN and counts for nothing.

    Args:
        p_values: (n,).
    """
    p = np.asarray(p_values, dtype=np.float64)
    made = np.flatnonzero(~np.isnan(p))
    ascending = made[np.argsort(p[made], kind="stable")]
    adjusted = np.full(p.shape, np.nan)
    factors = len(made) - np.arange(len(made))
    adjusted[ascending] = np.minimum(1.0, np.maximum.accumulate(factors * p[ascending]))
    return adjusted


def holm_pairs(p: Floats) -> Floats:
    """Return (models, models): Holm's p-values over all pairs of a symmetric (models, models), 1 on the diagonal."""
    above = np.triu_indices(len(p), k=1)
    adjusted = np.eye(len(p))
    adjusted[above] = holm(p[above])
    adjusted.T[above] = adjusted[above]
    return adjusted


_ERRORS = 10_000
"""Percentiles of the estimated standard error over which the chance of showing a difference is averaged."""


def smallest_difference(
    standard_error: float, df: float, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Return the smallest true difference that a two-sided test at `alpha` shows with a chance of `power`.

    The test statistic of a true difference d is noncentral t with noncentrality d / standard_error (Cohen 1988,
    ch. 2); what falls in the wrong tail counts as shown, as it does in the test.

    Args:
        standard_error: of the difference, in the units of the score.
        df: the degrees of freedom of the standard error; may be infinite.
        alpha: the level of the test.
        power: above alpha and below 1.

    Raises:
        ValueError: `power` is not between `alpha` and 1.
    """
    if not alpha < power < 1:
        raise ValueError(f"power must lie between alpha = {alpha} and 1, but is {power}")
    critical = scipy.stats.t.ppf(1 - alpha / 2, df)
    # Noncentral t is a normal over an error of its own; scipy's is NaN far in the tails of few degrees of freedom.
    percentiles = (np.arange(_ERRORS) + 0.5) / _ERRORS
    critical_values = critical * (
        np.sqrt(scipy.stats.chi2.ppf(percentiles, df) / df) if np.isfinite(df) else 1.0
    )

    def missing_power(noncentrality: float) -> float:
        right_tail = scipy.special.ndtr(noncentrality - critical_values)
        wrong_tail = scipy.special.ndtr(-noncentrality - critical_values)
        return float(np.mean(right_tail + wrong_tail)) - power

    enough = critical + 1.0
    while missing_power(enough) < 0:
        enough *= 2
    return float(standard_error * scipy.optimize.brentq(missing_power, 0.0, enough))
