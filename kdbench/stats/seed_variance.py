"""Estimate the variance of a row's score over seeds, moderated by the other rows of the task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.special

_NODES = np.linspace(-3.0, 3.0, 17)
"""Where the prior of log variances is evaluated, in standard deviations from its mean."""
_WIDENED = 1.75
"""How much wider the prior is than the moments say."""


@dataclass(frozen=True)
class Posterior:
    """A distribution over a few possible variances, which are known no better than that."""

    variances: tuple[float, ...]
    """Each of a SINGLE seed's score about its row's mean, in squared units of the score."""
    weights: tuple[float, ...]
    """They sum to 1."""


@dataclass(frozen=True)
class SeedSpread:
    """The estimated variance of a row's score over seeds."""

    variance: float
    """Of a SINGLE seed's score about its row's mean, in squared units of the score."""
    df: float
    """The degrees of freedom of that estimate; infinite where the variance is known."""
    posterior: Posterior | None = None
    """What is known of the variance, where other rows say how variances scatter; `variance` and `df` sum it up."""


def own_spread(scores: Sequence[float]) -> SeedSpread | None:
    """Return a row's sample variance, with n - 1 degrees of freedom; None where it has fewer than two seeds."""
    if len(scores) < 2:
        return None
    # Equal scores have variance 0, even where their computed mean differs from them by rounding.
    variance = float(np.var(scores, ddof=1)) if min(scores) < max(scores) else 0.0
    return SeedSpread(variance, len(scores) - 1)


def seed_spreads(
    scores_by_row: Sequence[Sequence[float]], like: Sequence[Sequence[float]] | None = None
) -> list[SeedSpread | None]:
    """Return what is known of each row's variance over seeds, moderated by the rows of the same task.

    A row of three seeds estimates its variance with two degrees of freedom, too few for any significant result. The
    rows' true variances are modelled as a sample of a log-normal distribution (Hwang, Qiu & Zhao 2009),
    whose mean and variance are estimated from the log sample variances by Smyth's moments (2004, section 6.2). A row's
    own scores then make some of these variances more likely than others; tests average over them, which is Cox's
    partially Bayes inference (Ignatiadis & Sen 2025). A single moderated variance with added degrees of
    freedom (Smyth 2004) is not enough: on spreads of 0.3 to 5 points, a row that is wide in truth and narrow on its
    three seeds makes p-values of 1e-4 far too small, and 28 equal rows then show a false difference on one board in
    seven.

    With few rows the scatter of variances is poorly known: its variance is at least that of the log of a sample
    variance with rows - 1 degrees of freedom. A few rows that are far wider than the others do not fit a normal
    distribution of log variances, and the moments of three seeds are uncertain: the prior's standard deviation is 1.75 times
    the estimate, and the prior ends at three of these. Without that, 24 rows of 0.3 to 0.8 points beside four
    of 5 show a false difference on 15% of boards.

    A row whose seeds agree to the last digit has no log variance: it does not contribute to the prior, but is moderated
    by it. A row of one seed has the prior itself. With fewer than two rows to estimate it from there is no prior, and
    every row has its own sample variance.

    Args:
        scores_by_row: each row's scores, one per seed; rows may differ in their seeds, down to none.
        like: the rows to estimate the prior from; by default the same.

    Returns:
        One spread per row; None where the row has fewer than two seeds and there is no prior, or no seed at all.
    """
    own = [own_spread(scores) for scores in scores_by_row]
    informing = own if like is None else [own_spread(scores) for scores in like]
    prior = _prior([spread for spread in informing if spread is not None and spread.variance > 0])
    if prior is None:
        return own
    return [
        _moderated(spread, *prior) if len(scores) else None
        for scores, spread in zip(scores_by_row, own, strict=True)
    ]


def _prior(spreads: Sequence[SeedSpread]) -> tuple[float, float] | None:
    """Return the mean and the standard deviation of the rows' log variances; None with fewer than two rows."""
    if len(spreads) < 2:
        return None
    df = np.array([spread.df for spread in spreads])
    # A log sample variance is the true one plus the log of a chi-square over its degrees of freedom.
    logs = np.log([spread.variance for spread in spreads]) - scipy.special.digamma(df / 2) + np.log(df / 2)
    excess = float(logs.var(ddof=1) - scipy.special.polygamma(1, df / 2).mean())
    least = float(scipy.special.polygamma(1, (len(spreads) - 1) / 2))
    return float(logs.mean()), _WIDENED * float(np.sqrt(max(excess, least)))


def _moderated(own: SeedSpread | None, mean: float, sd: float) -> SeedSpread:
    """Return the posterior of a row's variance; the prior where a row has no variance of its own."""
    logs = mean + sd * _NODES
    log_weights = -(_NODES**2) / 2
    if own is not None:
        log_weights = log_weights - own.df / 2 * (logs + own.variance * np.exp(-logs))
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    return _summed_up(np.exp(logs), weights)


def _summed_up(variances: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> SeedSpread:
    """Return the spread whose precision, 1 / variance, has the mean and variance of an inverse chi-square's."""
    precision = float(weights @ (1 / variances))
    of_precision = float(weights @ (1 / variances - precision) ** 2)
    df = 2 * precision**2 / of_precision
    return SeedSpread(1 / precision, df, Posterior(tuple(variances.tolist()), tuple(weights.tolist())))
