"""Bound the ranks of models by which differences are significant, and average over tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from kdbench.stats.bootstrap import RESAMPLES, TAILS, Estimate, Flags, Floats


@dataclass(frozen=True)
class RankInterval:
    """The ranks that a model may have; 1 is the best."""

    best: int
    worst: int


def rank_intervals(better: Flags) -> list[RankInterval]:
    """Return each model's interval of ranks, from tests of all pairs (Mogstad, Romano, Shaikh & Wilhelm 2024).

    A model's rank is 1 plus the number of models with a higher true score. Every model that is significantly better adds
    one to the best rank that it may have, every one that is significantly worse takes one from the worst
    (doi:10.1093/restud/rdad006). If the tests keep the probability of any false claim among all pairs below
    5%, as Holm's correction does, then with at least 95% all intervals hold at once. Nothing else follows: two models
    whose intervals overlap may be in either order.

    Args:
        better: (models, models): whether model i is significantly better than model j.
    """
    above, below = better.sum(axis=0), better.sum(axis=1)
    return [RankInterval(1 + int(a), len(better) - int(b)) for a, b in zip(above, below, strict=True)]


def score_ranks(scores: Floats, models: Sequence[int] | None = None) -> Floats:
    """Return (rows, tasks): each row's rank on each task; 1 is the best, and ties share their mean rank.

    Ranks are comparable only among the same rows: a row without a score (NaN) on some task is excluded from all, and
    its ranks are NaN. Rows of one model, which are near copies of each other, count once: a row's rank is 1 plus the
    number of other models whose best row scores more, and half the number of those whose best scores the same.

    Args:
        scores: (rows, tasks), higher is better.
        models: (rows,): the number of the model that each row is a copy of; by default each row is its own.
    """
    complete = ~np.isnan(scores).any(axis=1)
    ranks = np.full(scores.shape, np.nan)
    own_models = np.arange(len(scores)) if models is None else np.asarray(models)
    numbers = np.unique(own_models[complete])
    if not len(numbers):
        return ranks
    best = np.stack([scores[complete & (own_models == number)].max(axis=0) for number in numbers])
    for row in np.flatnonzero(complete):
        others = best[numbers != own_models[row]]
        ranks[row] = 1 + (others > scores[row]).sum(axis=0) + (others == scores[row]).sum(axis=0) / 2
    return ranks


def interquartile_mean(
    scores_by_task: Sequence[Sequence[float]], *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Return the interquartile mean of one row over tasks and seeds (Agarwal et al. 2021, section 4.3).

    All scores of all tasks are pooled, a quarter of them (rounded down) is cut from either end, and the rest averaged:
    neither a single outlying task nor a collapsed seed moves it. The interval is that of a stratified bootstrap, which
    draws each task's seeds with replacement (section 4.1); it covers other seeds on these tasks, not other tasks or
    test sets.

    A bootstrap of n seeds has only (n - 1) / n of their variance (2/3 with three), estimated from as few seeds. So the
    distance of each drawn seed from its task's mean is divided by the root of that share, and the distance of the
    percentiles from the mean is multiplied by the ratio of Student's t to the normal quantile, with one degree of
    freedom per seed beyond the first of each task. In simulations 95% intervals of one to four tasks with three to ten
    seeds then cover the truth in 94% to 97% of draws, plain percentiles in 73% to 93%; where tasks differ so much that
    the middle half is about the seeds of one task, 86% to 92%.

    Args:
        scores_by_task: the seeds' scores for each task, normalized so that tasks are comparable; a task with more
            seeds has more weight.

    Raises:
        ValueError: there is no task, or a task has no score or a NaN.
    """
    tasks = [np.asarray(scores, dtype=np.float64) for scores in scores_by_task]
    if not tasks or any(not len(scores) or np.isnan(scores).any() for scores in tasks):
        raise ValueError("an interquartile mean needs a score on every task")
    mean = float(_trimmed(np.concatenate(tasks)))
    if all(scores.min() == scores.max() for scores in tasks):
        # No task has two seeds, or all agree, as those of a convex probe do: that says nothing of other data.
        return Estimate(mean, None, None)
    rng = np.random.default_rng(seed)
    means = _trimmed(np.concatenate([_drawn(scores, resamples, rng) for scores in tasks], axis=1))
    df = sum(len(scores) - 1 for scores in tasks)
    from_mean = np.quantile(means, TAILS) - mean
    low, high = mean + from_mean * scipy.stats.t.ppf(TAILS[1], df) / scipy.stats.norm.ppf(TAILS[1])
    return Estimate(mean, float(low), float(high))


def _drawn(scores: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """Resample (seeds,) to (resamples, seeds) with replacement, and scale to the variance of new seeds."""
    n = len(scores)
    centre = scores.mean()
    drawn: Floats = centre + (scores - centre)[rng.integers(n, size=(resamples, n))] * np.sqrt(
        n / max(1, n - 1)
    )
    return drawn


def _trimmed(pooled: Floats) -> Floats:
    means: Floats = scipy.stats.trim_mean(pooled, 0.25, axis=-1)
    return means
