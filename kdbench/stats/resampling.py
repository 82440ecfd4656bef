"""Scores of test sets that might have been: examples drawn with replacement from the one that was scored."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Score = Callable[[Floats], Floats]
"""Turns sums of statistics (..., k) into scores (...), as `kdbench.metrics.Metric.score` does."""

ANY_SCORE = (-np.inf, np.inf)
"""The range of a score of which nothing is known."""

RESAMPLES = 2000
CONFIDENCE = 0.95

_NUMBERS_AT_ONCE = 1_000_000
"""Draws, or sums of statistics, held before they become scores: bounds memory to some 40 MB."""


def resampled_scores(statistics: Floats, score: Score, resamples: int, rng: np.random.Generator) -> Floats:
    """Return (resamples, seeds): each seed's score on examples drawn with replacement, the same for all seeds.

    All seeds share the examples, as they share the one test set: drawn apart for each seed, the luck of that test
    set would average out. "Seeds" may as well be models; whatever is stacked on the first axis shares the draws.

    Args:
        statistics: (seeds, examples, k), one seed's examples in the order of every other's.
        score: turns sums of statistics (..., k) into scores (...).
        resamples: how many test sets are drawn.
        rng: draws them.
    """
    seeds, examples, k = statistics.shape
    by_example = examples_first(statistics)
    scores = []
    for rows in chunks(resamples, max(examples, seeds * k)):
        # Row r draws from r * examples upward, so that one bincount counts all rows.
        drawn = rng.integers(examples, size=(rows, examples)) + examples * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * examples).reshape(rows, examples)
        scores.append(score((counts @ by_example).reshape(rows, seeds, k)))
    return np.concatenate(scores)


def examples_first(statistics: Floats) -> Floats:
    """Return (examples, seeds * k) of (seeds, examples, k): what one product sums for all seeds at once."""
    seeds, examples, k = statistics.shape
    return statistics.transpose(1, 0, 2).reshape(examples, seeds * k)


def chunks(total: int, width: int) -> list[int]:
    """Return row counts that sum to `total`, so that a chunk of `width` numbers a row fits in memory."""
    size = max(1, _NUMBERS_AT_ONCE // width)
    return [min(size, total - start) for start in range(0, total, size)]
