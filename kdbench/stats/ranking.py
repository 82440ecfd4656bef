"""Places on a board, shared by models that were not shown to differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import scipy.stats

from kdbench.stats.bootstrap import CONFIDENCE, RESAMPLES, Flags, Floats


@dataclass(frozen=True)
class TieRank:
    """A model's place."""

    rank: int
    """From 1, which is the best."""
    tied: bool
    """Whether others share it."""

    def __str__(self) -> str:
        return f"{self.rank}{'=' if self.tied else ''}"


def tie_ranks(scores: Sequence[float], differs: Flags) -> list[TieRank | None]:
    """Return each model's place.

    The models are taken from the highest score down. The best leads a group; the models after it join the group
    until one is shown to differ from its leader. That one leads the next group, whose rank is 1 and the number of
    models in the groups before; and so on. Of equal scores those that join the present group are taken first, so that
    models that answer alike never stand in two groups.

    "Not shown to differ" is no equivalence: where a and b are not told apart, nor b and c, a and c may well be. Only
    the leader counts, so that two members of a group may differ from each other, and a model that differs from no
    member of the group above except its leader still stands below. A rank says: shown to be worse than a model of
    every better rank.

    Args:
        scores: (models,), of which more is better; NaN is a model without a score.
        differs: (models, models), symmetric: whether the two were shown to differ.

    Returns:
        A place a model, None of NaN.
    """
    values = np.asarray(scores, dtype=np.float64)
    best_first = [int(i) for i in np.argsort(-values, kind="stable") if not np.isnan(values[i])]
    groups: list[list[int]] = []
    for _, equal in groupby(best_first, key=lambda model: values[model]):
        for model in _joining_first(list(equal), groups, differs):
            if not groups or differs[groups[-1][0], model]:
                groups.append([])
            groups[-1].append(model)
    ranks: list[TieRank | None] = [None] * len(values)
    placed = 0
    for group in groups:
        for model in group:
            ranks[model] = TieRank(placed + 1, tied=len(group) > 1)
        placed += len(group)
    return ranks


def _joining_first(equal: list[int], groups: list[list[int]], differs: Flags) -> list[int]:
    """Return models of one score, those that join the present group before those that do not."""
    if not groups:
        return equal
    leader = groups[-1][0]
    return sorted(equal, key=lambda model: bool(differs[leader, model]))


def pareto_front(
    quality: Sequence[float] | Floats, cost: Sequence[float] | Floats, better: Flags, cheaper: Flags
) -> Flags:
    """Return (models,): whether a model is on the front of high quality and low cost.

    Model j is off the front if and only if some model i has at least its quality at no more than its cost, and is
    shown to be better or shown to be cheaper: what differs by luck alone pushes nobody off.

    Args:
        quality: (models,), of which more is better.
        cost: (models,), of which less is better.
        better: (models, models): whether i is shown to be better than j.
        cheaper: (models, models): whether i is shown to be cheaper than j; of an exactly known cost, cost i < cost j.

    Returns:
        False of a model whose quality or cost is NaN; it pushes nobody off either.
    """
    q, c = np.asarray(quality, dtype=np.float64), np.asarray(cost, dtype=np.float64)
    known = ~(np.isnan(q) | np.isnan(c))
    no_worse = (q[:, None] >= q) & (c[:, None] <= c) & known[:, None]
    beaten = no_worse & (np.asarray(better) | np.asarray(cheaper))
    front: Flags = known & ~beaten.any(axis=0)
    return front


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
