"""Compare models scored on the same examples: differences, intervals, p-values and their correction."""

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
    """The difference between the scores of two models on one test set."""

    difference: float
    """The first model's score minus the second's, each a mean over its seeds."""
    low: float
    high: float
    """The bounds of the interval of `difference`, from Student's t."""
    p: float
    """Two-sided: the probability of a difference at least as large if there were none."""
    standard_error: float
    df: float
    """The degrees of freedom of the standard error."""


@dataclass(frozen=True, eq=False)
class PairwiseDifferences:
    """The differences between all models; all arrays are (models, models), [i, j] for model i minus model j."""

    difference: Floats
    standard_error: Floats
    df: Floats
    p: Floats
    """Two-sided, uncorrected: see `holm_pairs`."""

    def interval(self, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
        """Return the lower and upper bounds of the intervals of `difference`, uncorrected."""
        half = scipy.stats.t.ppf((1 + confidence) / 2, self.df) * self.standard_error
        return self.difference - half, self.difference + half

    def of(self, a: int, b: int, confidence: float = CONFIDENCE) -> Difference:
        """Return how much better model `a` scored than model `b`, with its interval."""
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
        b: (seeds of b, examples, k), with the same examples in the same order.
        score: turns sums of statistics (..., k) into scores (...).
        spread_a: the estimated spread of a's seeds, from `seed_spreads`; None uses their sample variance.
        spread_b: the same for b.
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

    The variance of a difference is that of its bootstrap (Efron & Tibshirani 1993, ch. 6) plus what each model's seeds
    add to it (`MeanScores`). The seeds of two models count as independent, which is conservative where a seed affects
    both alike. p comes from Student's t with the degrees of freedom of the whole variance (Satterthwaite 1946), not
    from counting resamples, so that it can be small enough for hundreds of comparisons; but it is never below
    2 / 2**examples, the smallest p that swapping the two models' answers can give (Noreen 1989).

    Two models with identical statistics, seed for seed, differ by exactly 0 with a standard error of 0 and p = 1.

    Args:
        models: each (its seeds, examples, k), with the same examples in the same order.
        score: turns sums of statistics (..., k) into scores (...).
        spreads: the estimated spread of each model's seeds, from `seed_spreads`; None uses the model's own sample
            variance; a single seed without a spread adds nothing, and p then holds for these trained weights alone.
        resamples: how many resamples are drawn.
        seed: fixes the draws.

    Raises:
        ValueError: the models were not scored on the same examples, or the number of spreads differs from theirs.
    """
    resampled = resample(models, score, resamples=resamples, seed=seed)
    same = np.array([[np.array_equal(a, b) for b in models] for a in models])
    return resampled_differences(resampled, [None] * len(models) if spreads is None else spreads, same)


def resampled_differences(
    models: Sequence[Resampled], spreads: Sequence[SeedSpread | None], same: Flags
) -> PairwiseDifferences:
    """Return `pairwise_differences` of models that were already resampled, with the same seed.

    Args:
        models: results of `kdbench.stats.resample`.
        spreads: the estimated spread of each model's seeds, from `seed_spreads`; None uses the sample variance.
        same: (models, models): whether two have identical statistics, seed for seed.

    Raises:
        ValueError: the number of spreads differs from that of the models.
    """
    means = mean_scores(models, spreads)
    # The variance of differences, not a sum of covariances, is exactly 0 for equal columns.
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
    """Return (models, models): the sums of all pairs of `values`."""
    sums: Floats = np.add.outer(values, values)
    return sums


def _p(difference: Floats, standard_error: Floats, df: Floats, lowest: float) -> Floats:
    # With a standard error of 0, t is 0 for no difference and infinite for any other.
    without_error = np.where(difference == 0, 0.0, np.inf)
    t = np.divide(np.abs(difference), standard_error, out=without_error, where=standard_error > 0)
    p: Floats = np.maximum(2 * scipy.stats.t.sf(t, df), lowest)
    return p


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Return (n,) Holm-corrected p-values, which control the family-wise error rate (Holm 1979).

    The smallest of n is multiplied by n, the next by n - 1, and so on; none becomes smaller than its predecessor, or
    larger than 1. NaN stands for a comparison that was not made: it stays NaN and does not count.

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
    """Return (models, models): Holm-corrected p over all pairs of a symmetric (models, models), 1 on the diagonal."""
    above = np.triu_indices(len(p), k=1)
    adjusted = np.eye(len(p))
    adjusted[above] = holm(p[above])
    adjusted.T[above] = adjusted[above]
    return adjusted


_ERRORS = 10_000
"""Percentiles of the estimated standard error over which the power is averaged."""


def smallest_difference(
    standard_error: float, df: float, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Return the smallest true difference that a two-sided test at `alpha` detects with the given `power`.

    The test statistic of a true difference d is noncentral t with noncentrality d / standard_error (Cohen 1988,
    ch. 2); the wrong tail counts as significant, as it does in the test.

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
    # Noncentral t is a normal over an estimated error; scipy's is NaN far in the tails with few degrees of freedom.
    percentiles = (np.arange(_ERRORS) + 0.5) / _ERRORS
    critical_values = critical * (
        np.sqrt(scipy.stats.chi2.ppf(percentiles, df) / df) if np.isfinite(df) else 1.0
    )

    def missing_power(noncentrality: float) -> float:
        right_tail = scipy.special.ndtr(noncentrality - critical_values)
        wrong_tail = scipy.special.ndtr(-noncentrality - critical_values)
        return float(np.mean(right_tail + wrong_tail)) - power

    upper = critical + 1.0
    while missing_power(upper) < 0:
        upper *= 2
    return float(standard_error * scipy.optimize.brentq(missing_power, 0.0, upper))
