"""How sure a score is: bootstrap intervals and paired comparisons over the examples and seeds that were scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Score = Callable[[Floats], Floats]
"""Turns sums of statistics (..., k) into scores (...), as `kdbench.metrics.Metric.score` does."""

_DRAWS_AT_ONCE = 1_000_000
"""Examples drawn before their counts are summed: bounds memory to some 40 MB."""


@dataclass(frozen=True)
class Difference:
    """How much better the first of two models scored on one test set."""

    difference: float
    """The first's score less the second's, each a mean over its seeds."""
    low: float
    high: float
    """The percentile interval of `difference`."""
    p: float
    """Two-sided: how often chance alone would show a difference as large, were there none."""


def bootstrap_interval(
    statistics: Floats,
    score: Score,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean score over seeds (Efron & Tibshirani 1993, ch. 13).

    A resample draws, with replacement, examples and then seeds. All seeds share its examples, as they share the one
    test set: drawn apart for each seed, the luck of that test set would average out. Few seeds show too little of
    their own spread: a bootstrap of n values has (n - 1)/n of their variance.

    Args:
        statistics: (seeds, examples, k), one seed's examples in the order of every other's.
        score: turns sums of statistics (..., k) into scores (...).
        confidence: the interval's nominal coverage.
        resamples: how many resamples are drawn.
        seed: fixes the draws.
    """
    examples_rng, seeds_rng = np.random.default_rng(seed).spawn(2)
    scores = _resampled_scores(statistics, score, resamples, examples_rng)
    return _percentile_interval(_mean_over_drawn_seeds(scores, seeds_rng), confidence)


def paired_difference(
    statistics_a: Floats,
    statistics_b: Floats,
    score: Score,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Difference:
    """Return how much better model a scored than model b on the same examples, by a paired bootstrap.

    Both models are scored on each resample's examples, drawn with replacement; the seeds of each are drawn for
    itself. The resampled differences spread about the observed one as it does about the true one; so p is the share
    of resamples that lie at least as far from the observed difference as that lies from 0, the observed sample
    counted as one of them (Efron & Tibshirani 1993, ch. 16; Davison & Hinkley 1997, eq. 4.11). It is never 0.

    Args:
        statistics_a: (seeds of a, examples, k).
        statistics_b: (seeds of b, examples, k), of the same examples in the same order.
        score: turns sums of statistics (..., k) into scores (...).
        confidence: the interval's nominal coverage.
        resamples: how many resamples are drawn.
        seed: fixes the draws.
    """
    examples_rng, a_rng, b_rng = np.random.default_rng(seed).spawn(3)
    both = np.concatenate([statistics_a, statistics_b])
    scores_a, scores_b = np.split(
        _resampled_scores(both, score, resamples, examples_rng), [len(statistics_a)], axis=1
    )
    resampled = _mean_over_drawn_seeds(scores_a, a_rng) - _mean_over_drawn_seeds(scores_b, b_rng)
    observed = _mean_score(statistics_a, score) - _mean_score(statistics_b, score)
    # Scores come in steps of 1/examples, so that many resamples tie with the observed difference but for rounding.
    as_far = np.abs(resampled - observed) >= abs(observed) - 1e-12
    low, high = _percentile_interval(resampled, confidence)
    return Difference(observed, low, high, p=float((as_far.sum() + 1) / (resamples + 1)))


def _resampled_scores(
    statistics: Floats, score: Score, resamples: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return (resamples, seeds): each seed's score on examples drawn with replacement, the same for all seeds."""
    seeds, examples, k = statistics.shape
    by_example = statistics.transpose(1, 0, 2).reshape(examples, seeds * k)
    chunk = max(1, _DRAWS_AT_ONCE // examples)
    scores = []
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        # Row r draws from r * examples upward, so that one bincount counts all rows.
        drawn = rng.integers(examples, size=(rows, examples)) + examples * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * examples).reshape(rows, examples)
        scores.append(score((counts @ by_example).reshape(rows, seeds, k)))
    return np.concatenate(scores)


def _mean_over_drawn_seeds(scores: Floats, rng: np.random.Generator) -> Floats:
    """Return (resamples,): the mean of each row of (resamples, seeds) over seeds drawn with replacement."""
    drawn = rng.integers(scores.shape[1], size=scores.shape)
    means: Floats = np.take_along_axis(scores, drawn, axis=1).mean(axis=1)
    return means


def _mean_score(statistics: Floats, score: Score) -> float:
    """Return the mean over seeds of each one's score."""
    return float(score(statistics.sum(axis=1)).mean())


def _percentile_interval(values: Floats, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
