"""Compute confidence intervals of scores and of the recovered gap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats

from kdbench.stats.bootstrap import (
    ANY_SCORE,
    RESAMPLES,
    TAILS,
    Estimate,
    Floats,
    Groups,
    MeanScores,
    Resampled,
    Rescore,
    Score,
    mean_scores,
    resample,
)
from kdbench.stats.seed_variance import SeedSpread


def bootstrap_interval(
    statistics: Floats,
    score: Score,
    *,
    spread: SeedSpread | None = None,
    score_range: tuple[float, float] = ANY_SCORE,
    resamples: int = RESAMPLES,
    seed: int = 0,
    rescore: Rescore | None = None,
    groups: Groups | None = None,
    plain: bool = False,
) -> tuple[float, float]:
    """Return the interval of the mean score over seeds, which covers the variation of test sets and of seeds.

    Each resample draws examples with replacement, the same for all seeds, averages the seeds, and adds the variation of
    the seeds: a normal draw, whose variance is one of those that the seeds may add to the examples' (`MeanScores`); where
    a model's own seeds alone tell its variance, a draw of Student's t times the standard error. The bounds are percentiles of these values (Efron &
    Tibshirani 1993, ch. 13).

    One seed without a `spread` says nothing about the variation of seeds: its interval is the plain percentile
    interval, which covers test sets alone. Where seeds add to the width, the interval is cut to the score's range. The
    interval of a share of right answers, of which fewer than ten are right or fewer than ten wrong, also includes
    Wilson's.

    In simulations 95% intervals of three seeds cover the truth in 93.5% to 97% of draws, whether the test set or the
    seeds dominate. It is 91% only where seeds err on examples independently of each other, so that no example is hard
    for all, and vary as much again for other reasons.

    Args:
        statistics: (seeds, examples, k), with the examples of all seeds in the same order.
        spread: the estimated spread of the seeds, from `seed_spreads`; None uses their sample variance.
        rescore: scores resamples where a score is not a formula of sums.
        groups: draws whole groups of examples.
        plain: whether to return the percentiles alone, without Wilson's interval near 0 and 1.
    """
    (model,) = resample(
        [statistics],
        score,
        score_range=score_range,
        resamples=resamples,
        seed=seed,
        rescore=rescore,
        groups=groups,
    )
    return resampled_interval(model, spread=spread, seed=seed, plain=plain)


def resampled_interval(
    model: Resampled, *, spread: SeedSpread | None = None, seed: int = 0, plain: bool = False
) -> tuple[float, float]:
    """Return `bootstrap_interval` of a model that was already resampled."""
    _, seeds_rng = np.random.default_rng(seed).spawn(2)
    ends = np.quantile(drawn_means(model, spread, seeds_rng), TAILS)
    smallest, largest = model.score_range
    low, high = max(float(ends[0]), smallest), min(float(ends[1]), largest)
    share = float(model.scores.mean())
    if plain or model.answers is None or min(share, 1 - share) * model.answers >= _FEW:
        return low, high
    wilson = wilson_interval(share, model.units)
    return min(low, wilson[0]), max(high, wilson[1])


def drawn_means(model: Resampled, spread: SeedSpread | None, rng: np.random.Generator) -> Floats:
    """Return (resamples,): the model's mean score for drawn examples and drawn seeds, as `bootstrap_interval` explains."""
    means = mean_scores([model], [spread])
    # Evenly spaced percentiles instead of random draws: no Monte Carlo noise beside that of the examples.
    resamples = len(model.means)
    percentiles = (np.arange(resamples) + 0.5) / resamples
    if means.possible is None:
        t = scipy.special.stdtrit(means.added_df[0], percentiles)  # as scipy.stats.t.ppf, much faster
        of_seeds = np.sqrt(means.added_variance[0]) * t
    else:
        variances, weights = (values[0] for values in means.possible)
        node = np.searchsorted(weights.cumsum()[:-1], rng.permutation(percentiles))
        of_seeds = np.sqrt(variances[node]) * scipy.special.ndtri(percentiles)
    drawn: Floats = model.means + rng.permutation(of_seeds)
    return drawn


_FEW = 10
"""With fewer right or fewer wrong answers than this, a bootstrap is too narrow: of no error at all its width is 0."""


def wilson_interval(share: float, examples: int) -> tuple[float, float]:
    """Return Wilson's 95% interval of the `share` of right answers (Wilson 1927; Brown, Cai & DasGupta 2001, eq. 4)."""
    z2 = float(scipy.special.ndtri(TAILS[1])) ** 2
    centre = (share + z2 / (2 * examples)) / (1 + z2 / examples)
    half = np.sqrt(z2 * (share * (1 - share) / examples + z2 / (4 * examples**2))) / (1 + z2 / examples)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


@dataclass(frozen=True)
class Gap:
    """The share of the distance from control to teacher that a student recovers: 0 is the control, 1 the teacher."""

    share: float | None
    """None where the teacher's score is not above the control's."""
    low: float | None
    high: float | None
    """The bounds of the interval of `share`; None where there is none."""
    reason: str | None = None
    """Why there is no interval."""


def gap_recovered(models: Sequence[Resampled], spreads: Sequence[SeedSpread | None]) -> Gap:
    """Return (student - control) / (teacher - control) of the mean scores, with Fieller's interval (Fieller 1954).

    A share belongs to the interval if a t test does not reject that student - control is that share of
    teacher - control; the test's variance and degrees of freedom are those of `pairwise_differences`. Where the
    teacher's lead is itself not significant by the same test, any share is possible, and there is no interval.

    Args:
        models: student, control and teacher, results of `resample` with the same seed.
        spreads: the estimated spread of each model's seeds, from `seed_spreads`; None uses the sample variance.
    """
    means = mean_scores(models, spreads)
    of_student, of_control, of_teacher = means.observed
    lead = of_teacher - of_control
    if lead <= 0:
        return Gap(None, None, None, "the teacher does not lead the control")
    share = float((of_student - of_control) / lead)
    if _excess(means, np.array([0.0, -1.0, 1.0])) <= 0:
        return Gap(share, None, None, "the teacher does not significantly lead the control")

    def excess(assumed: float) -> float:
        return _excess(means, np.array([1.0, assumed - 1.0, -assumed]))

    return Gap(share, _end(excess, share, -1.0), _end(excess, share, 1.0))


def share_kept(models: Sequence[Resampled], spreads: Sequence[SeedSpread | None]) -> Estimate | None:
    """Return student / teacher of the mean scores, with Fieller's interval (Fieller 1954), as in `gap_recovered`.

    None where the teacher's score is not significantly above 0.

    Args:
        models: student and teacher, results of `resample` with the same seed.
        spreads: the estimated spread of each model's seeds; None uses the sample variance.
    """
    means = mean_scores(models, spreads)
    of_student, of_teacher = means.observed
    if of_teacher <= 0 or _excess(means, np.array([0.0, 1.0])) <= 0:
        return None
    share = float(of_student / of_teacher)

    def excess(assumed: float) -> float:
        return _excess(means, np.array([1.0, -assumed]))

    return Estimate(share, _end(excess, share, -1.0), _end(excess, share, 1.0))


def _excess(means: MeanScores, weights: Floats) -> float:
    """Return by how much the squared contrast exceeds the critical value of a t test; above 0 the test rejects."""
    variance, df = means.contrast(weights)
    critical = scipy.special.stdtrit(df, TAILS[1])  # as scipy.stats.t.ppf, much faster
    return float((means.observed @ weights) ** 2 - critical**2 * variance)


def _end(excess: Callable[[float], float], share: float, step: float) -> float:
    """Return where the test begins to reject, from `share` in the direction of `step`.

    It does so somewhere: far away the test becomes that of the teacher's lead, which is significant.
    """
    if excess(share) >= 0:  # the variance is 0, so that no other share is possible
        return share
    while excess(share + step) < 0:
        step *= 2
    return float(scipy.optimize.brentq(excess, share, share + step))
