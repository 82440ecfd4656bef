"""Statistics of models that were scored, real or simulated, for the tests of kdbench.stats."""

from __future__ import annotations

import numpy as np

from kdbench.evaluation.metrics import METRICS
from kdbench.stats.bootstrap import Score, resample
from kdbench.stats.comparisons import Difference, PairwiseDifferences, pairwise_differences
from kdbench.stats.intervals import Gap, gap_recovered
from kdbench.stats.seed_variance import SeedSpread

ACCURACY = METRICS["accuracy"].score
"""The first statistic's sum by the second's: of `right` an accuracy, of `valued` a mean."""


def right(*seeds) -> np.ndarray:
    """Return (seeds, examples, 2), the statistics of accuracy, from what is right for each seed."""
    return valued(np.asarray(seeds, dtype=np.float64))


def valued(values: np.ndarray) -> np.ndarray:
    """Return (..., examples, 2), the statistics of a mean of `values` (..., examples)."""
    return np.stack([values, np.ones_like(values)], axis=-1)


def simulated(rng: np.random.Generator, accuracies: list[float], examples: int) -> np.ndarray:
    return right(*(rng.random(examples) < accuracy for accuracy in accuracies))


def crossed(
    rng: np.random.Generator,
    models: int,
    seeds: int,
    examples: int,
    *,
    shared: float = 1.0,
    of_model: float = 0.0,
    of_seed: float | np.ndarray = 0.0,
    of_answer: float = 0.0,
) -> np.ndarray:
    """Return (models, seeds, examples, 2): models whose true mean is 0, and normal luck on every level.

    Args:
        shared: the variance of what all models and seeds find hard in the test set's mean; the next three likewise.
        of_model: of what all seeds of one model do.
        of_seed: of a seed's luck; one number or one a model.
        of_answer: of what one seed finds hard in one example.
    """
    by_example = np.sqrt(examples)
    values = np.sqrt(shared) * by_example * rng.normal(size=(1, 1, examples))
    values = values + np.sqrt(of_model) * by_example * rng.normal(size=(models, 1, examples))
    values = values + np.sqrt(of_answer) * by_example * rng.normal(size=(models, seeds, examples))
    spread = np.broadcast_to(np.sqrt(of_seed), models)[:, None, None]
    return valued(values + spread * rng.normal(size=(models, seeds, 1)))


def all_differences(
    models: list[np.ndarray], spreads: list[SeedSpread | None] | None = None, **drawing: int
) -> PairwiseDifferences:
    """Return `pairwise_differences` of the accuracies of `models`, which are resampled here."""
    same = np.array([[np.array_equal(a, b) for b in models] for a in models])
    spreads = [None] * len(models) if spreads is None else spreads
    return pairwise_differences(resample(models, ACCURACY, **drawing), spreads, same)


def paired_difference(
    a: np.ndarray,
    b: np.ndarray,
    score: Score = ACCURACY,
    spreads: tuple[SeedSpread | None, SeedSpread | None] = (None, None),
    **drawing: int,
) -> Difference:
    same = np.array([[True, np.array_equal(a, b)], [np.array_equal(a, b), True]])
    return pairwise_differences(resample([a, b], score, **drawing), spreads, same).of(0, 1)


def recovered(
    student: np.ndarray,
    control: np.ndarray,
    teacher: np.ndarray,
    spreads: tuple[SeedSpread | None, ...] = (None, None, None),
    **drawing: int,
) -> Gap:
    return gap_recovered(resample([student, control, teacher], ACCURACY, **drawing), spreads)
