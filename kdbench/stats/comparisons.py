"""Compare models scored on the same examples: differences, intervals, p-values and their correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats

from kdbench.stats.bootstrap import (
    TAILS,
    Flags,
    Floats,
    Resampled,
    mean_scores,
    satterthwaite,
)
from kdbench.stats.mixtures import ErrorMixture, sum_of
from kdbench.stats.seed_variance import SeedSpread


@dataclass(frozen=True)
class Difference:
    """The difference between the scores of two models on one test set."""

    difference: float
    """The first model's score minus the second's, each a mean over its seeds."""
    low: float
    high: float
    """The bounds of the interval of `difference`."""
    p: float
    """Two-sided: the probability of a difference at least as large if there were none."""
    standard_error: float
    df: float
    """The degrees of freedom of the standard error; an approximation where `p` averages over possible variances."""


@dataclass(frozen=True, eq=False)
class PairwiseErrors:
    """The distribution of the error of each difference between models."""

    from_examples: Floats
    """(models, models): the variance of each difference over test sets."""
    examples: int
    possible: tuple[Floats, Floats] | None
    """Each (models, nodes): what the seeds of each model may add to that, and how likely (`MeanScores.possible`)."""
    standard_error: Floats
    df: Floats
    """Both (models, models): of Student's t, which is used where `possible` is None."""
    same: Flags
    """(models, models): whether two are identical, so that there is no error."""

    def tail(self, difference: Floats) -> Floats:
        """Return (models, models): the one-sided probability of an error of at least `difference` (models, models)."""
        if self.possible is None:
            with np.errstate(divide="ignore", invalid="ignore"):
                t = difference / self.standard_error
            t = np.where(np.isnan(t), 0.0, t)  # no difference, and a standard error of 0
            tails: Floats = scipy.special.stdtr(self.df, -t)
            return tails
        tails = np.stack([self._mixture(a, slice(None)).tail(row) for a, row in enumerate(difference)])
        return np.where(self.same, np.where(difference > 0, 0.0, 0.5), tails)

    def bound(self, a: int, b: int, alpha: float) -> float:
        """Return the error of the difference between `a` and `b` that is exceeded with probability `alpha`, one-sided."""
        if self.same[a, b]:
            return 0.0
        if self.possible is None:
            return float(self.standard_error[a, b] * scipy.stats.t.ppf(1 - alpha, self.df[a, b]))
        return self._mixture(a, b).bound(alpha)

    def _mixture(self, a: int, others: int | slice) -> ErrorMixture:
        assert self.possible is not None
        variances, weights = self.possible
        of_others = variances[others], weights[others]
        added, weights = sum_of((variances[a], weights[a]), of_others)
        from_examples = np.asarray(self.from_examples[a, others])[..., None]
        return ErrorMixture(from_examples + added, weights, max(1, self.examples - 1))


@dataclass(frozen=True, eq=False)
class PairwiseDifferences:
    """The differences between all models; all arrays are (models, models), [i, j] for model i minus model j."""

    difference: Floats
    standard_error: Floats
    df: Floats
    p: Floats
    """Two-sided, uncorrected: see `holm_pairs`."""
    errors: PairwiseErrors

    def of(self, a: int, b: int) -> Difference:
        """Return how much better model `a` scored than model `b`, with its interval, uncorrected."""
        difference, half = float(self.difference[a, b]), self.errors.bound(a, b, TAILS[0])
        return Difference(
            difference=difference,
            low=difference - half,
            high=difference + half,
            p=float(self.p[a, b]),
            standard_error=float(self.standard_error[a, b]),
            df=float(self.df[a, b]),
        )


def pairwise_differences(
    models: Sequence[Resampled], spreads: Sequence[SeedSpread | None], same: Flags
) -> PairwiseDifferences:
    """Return how much better each model scored than each other, by one paired bootstrap of the examples.

    The variance of a difference is that of its bootstrap (Efron & Tibshirani 1993, ch. 6) plus what each model's seeds
    add to it (`MeanScores`). The seeds of two models count as independent, which is conservative where a seed affects
    both alike. p comes from a distribution, not from counting resamples, so that it can be small enough for hundreds of
    comparisons: from Student's t averaged over the variances that the seeds may add (`seed_spreads`); without such a
    posterior, from t with the degrees of freedom of the whole variance (Satterthwaite 1946). But it is never below
    2 / 2**examples, the smallest p that swapping the two models' answers can give (Noreen 1989).

    Two models with identical statistics, seed for seed, differ by exactly 0 with a standard error of 0 and p = 1.

    Args:
        models: results of `resample` with the same seed, on the same examples in the same order.
        spreads: the estimated spread of each model's seeds, from `seed_spreads`; None uses the model's own sample
            variance; a single seed without a spread adds nothing, and p then holds for these trained weights alone.
        same: (models, models): whether two have identical statistics, seed for seed.

    Raises:
        ValueError: the number of spreads differs from that of the models.
    """
    means = mean_scores(models, spreads)
    # The variance of differences, not a sum of covariances, is exactly 0 for equal columns.
    from_examples = np.stack(
        [(column[:, None] - means.resampled).var(axis=0, ddof=1) for column in means.resampled.T]
    )
    variance = from_examples + np.add.outer(means.added_variance, means.added_variance)
    added_terms = np.add.outer(means.added_terms, means.added_terms)
    df = satterthwaite(variance, from_examples, means.examples, added_terms)
    difference = np.subtract.outer(means.observed, means.observed)
    standard_error = np.where(same, 0.0, np.sqrt(variance))
    errors = PairwiseErrors(from_examples, means.examples, means.possible, standard_error, df, same)
    return PairwiseDifferences(
        difference=difference,
        standard_error=standard_error,
        df=df,
        p=np.maximum(2 * errors.tail(np.abs(difference)), 2.0 ** (1 - means.examples)),
        errors=errors,
    )


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


POWER = 0.8
_ERRORS = 10_000
"""Percentiles of the estimated standard error over which the power is averaged."""


def smallest_difference(standard_error: float, df: float, *, alpha: float) -> float:
    """Return the smallest true difference that a two-sided test at `alpha` detects with a power of 80%.

    The test statistic of a true difference d is noncentral t with noncentrality d / standard_error (Cohen 1988,
    ch. 2); the wrong tail counts as significant, as it does in the test.

    Args:
        standard_error: of the difference, in the units of the score.
        df: the degrees of freedom of the standard error; may be infinite.
        alpha: the level of the test, below the power.
    """
    critical = scipy.stats.t.ppf(1 - alpha / 2, df)
    # Noncentral t is a normal over an estimated error; scipy's is NaN far in the tails with few degrees of freedom.
    percentiles = (np.arange(_ERRORS) + 0.5) / _ERRORS
    critical_values = critical * (
        np.sqrt(scipy.stats.chi2.ppf(percentiles, df) / df) if np.isfinite(df) else 1.0
    )

    def missing_power(noncentrality: float) -> float:
        right_tail = scipy.special.ndtr(noncentrality - critical_values)
        wrong_tail = scipy.special.ndtr(-noncentrality - critical_values)
        return float(np.mean(right_tail + wrong_tail)) - POWER

    upper = critical + 1.0
    while missing_power(upper) < 0:
        upper *= 2
    return float(standard_error * scipy.optimize.brentq(missing_power, 0.0, upper))
