"""Statistics of models that were scored, real or simulated, for the tests of kdbench.stats."""

from __future__ import annotations

import numpy as np

from kdbench.evaluation.metrics import METRICS

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
