"""Compare models scored on the same examples: differences, intervals, p-values and their correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats

from kdbench.stats.bootstrap import (
    CONFIDENCE,
    Flags,
    Floats,
    Resampled,
    difference_by_seed,
    mean_scores,
    satterthwaite,
)
from kdbench.stats.mixtures import ErrorMixture, sum_of
from kdbench.stats.seed_variance import SeedSpread

_ONE_SIDED = 0.05
"""The level of each of the two one-sided tests of equivalence."""


@dataclass(frozen=True)
class Difference:
    """The difference between the scores of two models on one test set."""

    difference: float
    """The first model's score minus the second's, each a mean over its seeds."""
    low: float
    high: float
    """The bounds of the interval of `difference`."""
    low_90: float
    high_90: float
    """The bounds of its 90% interval, beyond which each of two one-sided tests at 5% rejects."""
    p: float
    """Two-sided: the probability of a difference at least as large if there were none."""
    standard_error: float
    df: float
    """The degrees of freedom of the standard error; an approximation where `p` averages over possible variances."""

    def is_equivalent(self, margin: float) -> bool:
        """Return whether the two scores are shown to differ by less than `margin`: TOST at 5% (Schuirmann 1987)."""
        return -margin < self.low_90 and self.high_90 < margin


Pair = tuple[int, int]
"""The places of two models, the smaller first."""


@dataclass(frozen=True)
class PairedSeeds:
    """Two models that are compared by the seeds that both have, seed by seed."""

    spread: SeedSpread | None
    """What is known of how the differences vary over seeds."""
    places: tuple[Sequence[int], Sequence[int]]
    """Where these seeds are among those of the first model, and of the second."""


@dataclass(frozen=True, eq=False)
class _Error:
    """The distribution of the error of one difference, or of several of the shape (...)."""

    standard_error: Floats
    """(...)."""
    df: Floats
    """(...): the degrees of freedom of Student's t, which is used where there is no mixture."""
    mixture: ErrorMixture | None

    def tail(self, difference: Floats) -> Floats:
        """Return (...): the one-sided probability of an error of at least `difference` (...)."""
        if self.mixture is not None:
            return self.mixture.tail(difference)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = difference / self.standard_error
        # No difference, and a standard error of 0, is t = 0.
        tails: Floats = scipy.special.stdtr(self.df, -np.where(np.isnan(t), 0.0, t))
        return tails

    def bound(self, alpha: float) -> float:
        """Return the error, of one difference, that is exceeded with probability `alpha`, one-sided."""
        if self.mixture is not None:
            return self.mixture.bound(alpha)
        return float(self.standard_error * scipy.stats.t.ppf(1 - alpha, self.df))


@dataclass(frozen=True, eq=False)
class PairwiseErrors:
    """The distribution of the error of each difference between models."""

    from_examples: Floats
    """(models, models): the variance of each difference over test sets."""
    units: int
    """How many examples, or groups of them, were drawn."""
    possible: tuple[Floats, Floats] | None
    """Each (models, nodes): what the seeds of each model may add to that, and how likely (`MeanScores.possible`)."""
    standard_error: Floats
    df: Floats
    """Both (models, models): of Student's t, which is used where `possible` is None."""
    paired: Mapping[Pair, _Error]
    """The errors of the models that are paired seed by seed."""

    def tail(self, difference: Floats) -> Floats:
        """Return (models, models): the one-sided probability of an error of at least `difference` (models, models)."""
        rows = range(len(difference))
        tails = np.array([self._of(a, slice(None)).tail(difference[a]) for a in rows]).reshape(
            difference.shape
        )
        for (a, b), error in self.paired.items():
            tails[a, b], tails[b, a] = error.tail(difference[a, b]), error.tail(difference[b, a])
        return tails

    def bound(self, a: int, b: int, alpha: float) -> float:
        """Return the error of the difference between `a` and `b` that is exceeded with probability `alpha`, one-sided."""
        error = self.paired.get((min(a, b), max(a, b))) or self._of(a, b)
        return error.bound(alpha)

    def _of(self, a: int, others: int | slice) -> _Error:
        mixture = None
        if self.possible is not None:
            variances, weights = self.possible
            added, weights = sum_of((variances[a], weights[a]), (variances[others], weights[others]))
            from_examples = np.asarray(self.from_examples[a, others])[..., None]
            mixture = ErrorMixture(from_examples + added, weights, max(1, self.units - 1))
        return _Error(self.standard_error[a, others], self.df[a, others], mixture)


def _paired_error(difference: Resampled, spread: SeedSpread | None) -> _Error:
    """Return the error of a difference between models that are paired seed by seed."""
    means = mean_scores([difference], [spread])
    from_examples = np.asarray(difference.means.var(ddof=1))
    variance = from_examples + means.added_variance[0]
    mixture = None
    if means.possible is not None:
        variances, weights = (values[0] for values in means.possible)
        mixture = ErrorMixture(from_examples + variances, weights, max(1, difference.units - 1))
    df = satterthwaite(variance, from_examples, difference.units, means.added_terms[0])
    return _Error(np.sqrt(variance), df, mixture)


@dataclass(frozen=True, eq=False)
class PairwiseDifferences:
    """The differences between all models; all arrays are (models, models), [i, j] for model i minus model j."""

    difference: Floats
    standard_error: Floats
    df: Floats
    p: Floats
    """Two-sided, uncorrected: see `holm_pairs`."""
    same: Flags
    """Whether two models have identical statistics, so that their difference is 0 without any error."""
    errors: PairwiseErrors

    def of(self, a: int, b: int) -> Difference:
        """Return how much better model `a` scored than model `b`, with its intervals, uncorrected."""
        low, high = self.interval(a, b, 1 - CONFIDENCE)
        low_90, high_90 = self.interval(a, b, 2 * _ONE_SIDED)
        return Difference(
            difference=float(self.difference[a, b]),
            low=low,
            high=high,
            low_90=low_90,
            high_90=high_90,
            p=float(self.p[a, b]),
            standard_error=float(self.standard_error[a, b]),
            df=float(self.df[a, b]),
        )

    def interval(self, a: int, b: int, alpha: float) -> tuple[float, float]:
        """Return the interval of how much better model `a` scored than model `b`, of confidence 1 - `alpha`."""
        half = 0.0 if self.same[a, b] else self.errors.bound(a, b, alpha / 2)
        difference = float(self.difference[a, b])
        return difference - half, difference + half

    def equivalence_p(self, margin: float) -> Floats:
        """Return (models, models): p of a true difference of `margin` or more, either way (TOST, Schuirmann 1987)."""
        not_worse = self.noninferiority_p(margin)
        return np.maximum(not_worse, not_worse.T)

    def noninferiority_p(self, margin: float) -> Floats:
        """Return (models, models): p, one-sided, of model i being worse than model j by `margin` or more."""
        by_more = self.difference + margin
        return np.where(self.same, np.where(by_more > 0, 0.0, 1.0), self.errors.tail(by_more))


def pairwise_differences(
    models: Sequence[Resampled],
    spreads: Sequence[SeedSpread | None],
    same: Flags,
    paired: Mapping[Pair, PairedSeeds] | None = None,
) -> PairwiseDifferences:
    """Return how much better each model scored than each other, by one paired bootstrap of the examples.

    The variance of a difference is that of its bootstrap (Efron & Tibshirani 1993, ch. 6) plus what each model's seeds
    add to it (`MeanScores`). The seeds of two models count as independent unless they are `paired`, which is conservative
    where a seed affects both alike. p comes from a distribution, not from counting resamples, so that it can be small enough for hundreds of
    comparisons: from Student's t averaged over the variances that the seeds may add (`seed_spreads`); without such a
    posterior, from t with the degrees of freedom of the whole variance (Satterthwaite 1946). But it is never below
    2 / 2**examples, the smallest p that swapping the two models' answers can give (Noreen 1989).

    Two models with identical statistics, seed for seed, differ by exactly 0 with a standard error of 0 and p = 1.

    Args:
        models: results of `resample` with the same seed, on the same examples in the same order.
        spreads: the estimated spread of each model's seeds, from `seed_spreads`; None uses the model's own sample
            variance; a single seed without a spread adds nothing, and p then holds for these trained weights alone.
        same: (models, models): whether two have identical statistics, seed for seed.
        paired: the models whose seeds belong together, such as a model and what was made from it. Their difference is
            that over the seeds that both have, and only how it varies over these counts as variation of seeds.

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
    df = satterthwaite(variance, from_examples, means.units, added_terms)
    difference = np.subtract.outer(means.observed, means.observed)
    standard_error = np.where(same, 0.0, np.sqrt(variance))
    paired_errors = {}
    for (a, b), seeds in (paired or {}).items():
        by_seed = difference_by_seed(models[a], models[b], seeds.places)
        paired_errors[a, b] = error = _paired_error(by_seed, seeds.spread)
        difference[a, b] = by_seed.scores.mean()
        difference[b, a] = -difference[a, b]
        standard_error[[a, b], [b, a]] = 0.0 if same[a, b] else error.standard_error
        df[[a, b], [b, a]] = error.df
    errors = PairwiseErrors(from_examples, means.units, means.possible, standard_error, df, paired_errors)
    p = np.where(same & (difference == 0), 1.0, 2 * errors.tail(np.abs(difference)))
    return PairwiseDifferences(
        difference=difference,
        standard_error=standard_error,
        df=df,
        p=np.maximum(np.maximum(p, p.T), 2.0 ** (1 - means.units)),  # equal but for rounding
        same=same,
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
