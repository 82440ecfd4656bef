"""One number for a row over all tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from kdbench.stats.resampling import CONFIDENCE, RESAMPLES, Floats


@dataclass(frozen=True)
class InterquartileMean:
    """The mean of the middle half of a row's scores."""

    mean: float
    low: float | None
    high: float | None
    """Its interval over seeds; None where no task has two."""


def score_ranks(scores: Floats) -> Floats:
    """Return (rows, tasks): each row's rank on each task; 1 is the best, and ties share their mean rank.

    Ranks compare only where the same rows compete: a row that lacks a score (NaN) on some task takes part on none,
    and its ranks are NaN.

    Args:
        scores: (rows, tasks), of which more is better.
    """
    complete = ~np.isnan(scores).any(axis=1)
    ranks = np.full(scores.shape, np.nan)
    if complete.any():
        ranks[complete] = scipy.stats.rankdata(-scores[complete], axis=0)
    return ranks


def average_ranks(scores: Floats) -> Floats:
    """Return (rows,): each row's `score_ranks`, averaged over tasks.

    Args:
        scores: (rows, tasks), of which more is better.
    """
    averages: Floats = score_ranks(scores).mean(axis=1)
    return averages


def interquartile_mean(
    scores_by_task: Sequence[Sequence[float]],
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> InterquartileMean:
    """Return the interquartile mean of one row over tasks and seeds (Agarwal et al. 2021, section 4.3).

    All scores of all tasks are pooled, a quarter of them (rounded down) is cut from either end, and the rest
    averaged: it is moved neither by one task of its own nor by one collapsed seed. The interval is that of a stratified
    bootstrap, which draws each task's seeds with replacement (section 4.1), and speaks of other seeds on these tasks,
    not of other tasks or other test sets.

    A bootstrap of n seeds holds (n - 1) / n of their variance, 2/3 of that of three, and knows that no better than they
    do: the distance of each drawn seed from its task's mean is divided by the root of that share, and that of the
    percentiles from the mean multiplied by Student's t, of as many degrees of freedom as the tasks have seeds beyond
    their first, over the normal quantile. In simulations 95% intervals of one to four tasks of three to ten seeds then
    cover in 94% to 97% of draws, where the plain percentiles do in 73% to 93%; where tasks stand so far apart that the
    middle half is about one task's seeds alone, in 86% to 92%.

    Args:
        scores_by_task: a list of seeds' scores for each task, normalized so that tasks compare; a task with more
            seeds weighs more.
        confidence: the interval's nominal coverage.
        resamples: how many resamples are drawn.
        seed: fixes the draws.

    Raises:
        ValueError: there is no task, or a task has no score or a NaN.
    """
    tasks = [np.asarray(scores, dtype=np.float64) for scores in scores_by_task]
    if not tasks or any(not len(scores) or np.isnan(scores).any() for scores in tasks):
        raise ValueError("an interquartile mean needs a score on every task")
    mean = float(_trimmed(np.concatenate(tasks)))
    if all(len(scores) == 1 for scores in tasks):
        return InterquartileMean(mean, None, None)
    rng = np.random.default_rng(seed)
    means = _trimmed(np.concatenate([_drawn(scores, resamples, rng) for scores in tasks], axis=1))
    ends = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    upper, df = (1 + confidence) / 2, sum(len(scores) - 1 for scores in tasks)
    low, high = mean + (ends - mean) * scipy.stats.t.ppf(upper, df) / scipy.stats.norm.ppf(upper)
    return InterquartileMean(mean, float(low), float(high))


def _drawn(scores: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """Return (resamples, seeds) of (seeds,): drawn with replacement, as far from their mean as other seeds would be."""
    n = len(scores)
    centre = scores.mean()
    drawn: Floats = centre + (scores - centre)[rng.integers(n, size=(resamples, n))] * np.sqrt(
        n / max(1, n - 1)
    )
    return drawn


def _trimmed(pooled: Floats) -> Floats:
    means: Floats = scipy.stats.trim_mean(pooled, 0.25, axis=-1)
    return means
