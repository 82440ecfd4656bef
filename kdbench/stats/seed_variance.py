"""Estimate the variance of a row's score over seeds, moderated by the other rows of the task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats

_OUTLIER = 0.05
"""The chance that the widest row is taken for an outlier although all rows of a task share one prior."""


@dataclass(frozen=True)
class SeedSpread:
    """The estimated variance of a row's score over seeds."""

    variance: float
    """Of a SINGLE seed's score about its row's mean, in squared units of the score."""
    df: float
    """The degrees of freedom of that estimate; infinite where the variance is known."""


def own_spread(scores: Sequence[float]) -> SeedSpread | None:
    """Return a row's sample variance, with n - 1 degrees of freedom; None where it has fewer than two seeds."""
    if len(scores) < 2:
        return None
    # Equal scores have variance 0, even where their computed mean differs from them by rounding.
    variance = float(np.var(scores, ddof=1)) if min(scores) < max(scores) else 0.0
    return SeedSpread(variance, len(scores) - 1)


def seed_spreads(scores_by_row: Sequence[Sequence[float]]) -> list[SeedSpread | None]:
    """Return each row's variance over seeds, moderated by the rows of the same task (Smyth 2004, sections 3 and 6.2).

    A row of three seeds estimates its variance with two degrees of freedom, too few for any significant result. The
    rows' true variances are modelled as scattered about a common one, as an inverse chi-square with `prior df`; both
    are estimated from the log sample variances. A row's variance is then the mean of its own and the common one,
    weighted by their degrees of freedom, which add up.

    The estimate of prior df, designed for thousands of rows, is infinite whenever the sample variances scatter no more
    than with one true variance, which happens by chance with few rows: here it is at most rows - 1. With this limit,
    95% intervals of three seeds' means cover 93% to 95.5% in simulations of 3 to 30 rows, with true variances that are
    equal or scatter as an inverse chi-square with 6 df, and 92.5% to 94% where they scatter with 2.

    Three cases are special. A row that collapsed on a seed does not fit the prior of the others: the widest row is
    excluded while an F test of it against the prior of the rest rejects (at 0.05 over the number of rows), and keeps
    its own variance and degrees of freedom, so that neither it nor the others are distorted (Phipson et al. 2016
    downweight such rows by degrees). A row whose seeds agree to the last digit has no log variance: it does not
    contribute to the prior, but is moderated by it. A row of one seed has the prior's variance and degrees of freedom.
    With fewer than two rows to estimate it from there is no prior, and every row has its own variance.

    Args:
        scores_by_row: each row's scores, one per seed; rows may differ in their seeds, down to none.

    Returns:
        One spread per row; None where the row has fewer than two seeds and there is no prior, or no seed at all.
    """
    own = [own_spread(scores) for scores in scores_by_row]
    inliers = [spread for spread in own if spread is not None and spread.variance > 0]
    outliers: list[SeedSpread] = []
    while (widest := _outlier(inliers)) is not None:
        inliers.remove(widest)
        outliers.append(widest)
    prior = _prior(inliers)
    if prior is None:
        return own
    return [
        None if not len(scores) else spread if spread in outliers else _moderated(spread, prior)
        for scores, spread in zip(scores_by_row, own, strict=True)
    ]


def _moderated(own: SeedSpread | None, prior: SeedSpread) -> SeedSpread:
    """Return the posterior variance (Smyth 2004, section 3); the prior's where a row has none of its own."""
    if own is None:
        return prior
    df = own.df + prior.df
    return SeedSpread((own.df * own.variance + prior.df * prior.variance) / df, df)


def _prior(spreads: Sequence[SeedSpread]) -> SeedSpread | None:
    """Estimate the common variance and the prior degrees of freedom from log variances (Smyth 2004, section 6.2)."""
    if len(spreads) < 2:
        return None
    variances = np.array([spread.variance for spread in spreads])
    df = np.array([spread.df for spread in spreads])
    max_df = len(spreads) - 1
    logs = np.log(variances) - scipy.special.digamma(df / 2) + np.log(df / 2)
    # The scatter beyond that of sample variances with one true variance is that of the true variances.
    excess = float(logs.var(ddof=1) - scipy.special.polygamma(1, df / 2).mean())
    if excess <= 0:
        return SeedSpread(float(np.average(variances, weights=df)), max_df)
    prior_df = 2 * _inverse_trigamma(excess)
    log_variance = logs.mean() + scipy.special.digamma(prior_df / 2) - np.log(prior_df / 2)
    return SeedSpread(float(np.exp(log_variance)), min(prior_df, max_df))


def _outlier(spreads: Sequence[SeedSpread]) -> SeedSpread | None:
    """Return the widest of `spreads` if it is an outlier under the prior of the others, else None."""
    if not spreads:
        return None
    widest = max(spreads, key=lambda spread: spread.variance)
    others = list(spreads)
    others.remove(widest)
    prior = _prior(others)
    if prior is None:
        return None
    p = scipy.stats.f.sf(widest.variance / prior.variance, widest.df, prior.df)
    return widest if p * len(spreads) < _OUTLIER else None


def _inverse_trigamma(value: float) -> float:
    """Return the y > 0 whose trigamma is `value`; 1/y < trigamma(y) < 1/y + 1/y**2 brackets it."""
    low, high = 1 / value, (1 + np.sqrt(1 + 4 * value)) / (2 * value)
    return float(scipy.optimize.brentq(lambda y: scipy.special.polygamma(1, y) - value, low, high))
