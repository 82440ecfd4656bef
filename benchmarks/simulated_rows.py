"""Simulate rows of a board whose true scores are known, for `coverage.py`.

A seed's answer to an example is right where a latent margin is above 0: the row's level, the seed's luck, and what is
hard for all rows, for all seeds of this row, and for this seed alone. In regression the same three parts are the noise
of a value, and the level sets its correlation. The true score of a row is the mean over its seeds' luck, on infinitely
many examples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.optimize
from scipy.special import ndtr

from kdbench.api.metric import Answers, Metric
from kdbench.evaluation.metrics import METRICS

Floats = npt.NDArray[np.float64]

POSITIVES = 0.3
"""The share of the positive class for F1 and MCC."""
COMMON, OWN, ALONE = np.sqrt([0.5, 0.3, 0.2])
"""The parts of an example's difficulty: for all rows, for one row, for one seed."""
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(41)


def _f1(right: Floats) -> Floats:
    true_positives = POSITIVES * right
    predicted = true_positives + (1 - POSITIVES) * (1 - right)
    return 2 * true_positives / (predicted + POSITIVES)


def _matthews(right: Floats) -> Floats:
    predicted = POSITIVES * right + (1 - POSITIVES) * (1 - right)
    covariance = POSITIVES * right - predicted * POSITIVES
    return covariance / np.sqrt(predicted * (1 - predicted) * POSITIVES * (1 - POSITIVES))


_SCORES: Mapping[str, Callable[[Floats], Floats]] = {
    "accuracy": ndtr,
    "f1": lambda level: _f1(ndtr(level)),
    "matthews": lambda level: _matthews(ndtr(level)),
    # Spearman's correlation of two normals (Pearson 1907); the level is Fisher's z of theirs.
    "spearman": lambda level: 6 / np.pi * np.arcsin(np.tanh(level) / 2),
}


@cache
def level_and_luck(metric: str, score: float, seed_sd: float) -> tuple[float, float]:
    """Return the level of a row and the standard deviation of its seeds' luck, from the mean and SD of their scores."""

    def miss(guess: Floats) -> list[float]:
        scores = _SCORES[metric](guess[0] + np.exp(guess[1]) * _NODES)
        mean = np.average(scores, weights=_WEIGHTS)
        return [mean - score, np.sqrt(np.average((scores - mean) ** 2, weights=_WEIGHTS)) - seed_sd]

    level = scipy.optimize.brentq(lambda x: float(_SCORES[metric](np.float64(x))) - score, -8, 8)
    if seed_sd == 0:
        return float(level), 0.0
    slope = (
        float(_SCORES[metric](np.float64(level + 0.01)) - _SCORES[metric](np.float64(level - 0.01))) / 0.02
    )
    found = scipy.optimize.root(miss, [level, np.log(seed_sd / slope)])
    if not found.success:
        raise ValueError(f"no row has {metric} {score} with a standard deviation of {seed_sd} over seeds")
    return float(found.x[0]), float(np.exp(found.x[1]))


@dataclass(frozen=True)
class TrueRow:
    """What is true of one simulated row."""

    score: float
    seed_sd: float
    """The standard deviation of its seeds' scores on infinitely many examples."""


def simulate(
    rng: np.random.Generator,
    rows: Sequence[TrueRow],
    *,
    metric: str = "accuracy",
    seeds: int = 3,
    examples: int,
) -> list[Floats]:
    """Return for each row (seeds, examples, k): what each example adds to the sums of `metric`, on one test set."""
    truth = rng.random(examples) < POSITIVES
    values = rng.normal(size=examples)
    common = rng.normal(size=examples)
    models = []
    for row in rows:
        level, luck = level_and_luck(metric, round(row.score, 6), round(row.seed_sd, 6))
        levels = level + luck * rng.normal(size=(seeds, 1))
        noise = COMMON * common + OWN * rng.normal(size=examples) + ALONE * rng.normal(size=(seeds, examples))
        if metric == "spearman":
            correlation = np.tanh(levels)
            predicted = correlation * values + np.sqrt(1 - correlation**2) * noise
            models.append(_statistics(METRICS[metric], predicted, values))
        else:
            right = levels + noise > 0
            models.append(
                _statistics(METRICS[metric], np.where(right, truth, ~truth).astype(int), truth.astype(int))
            )
    return models


def derive(rng: np.random.Generator, source: Floats, loss: float, seed_sd: float) -> Floats:
    """Return the statistics of a row made from `source`, of accuracy: each seed loses `loss`, give or take `seed_sd`.

    Twice the lost share of the right answers turns wrong, and the lost share of all becomes right.
    """
    seeds, examples, _ = source.shape
    lost = loss + seed_sd * rng.normal(size=(seeds, 1))
    right = source[..., 0]
    accuracy = right.mean(axis=1, keepdims=True)
    flips = np.where(lost > 0, lost, 0) + 0.005
    gains = flips - lost
    chance = np.where(right > 0, flips / accuracy, gains / (1 - accuracy))
    changed = rng.random((seeds, examples)) < chance
    return np.stack([np.where(changed, 1 - right, right), np.ones_like(right)], axis=-1)


def _statistics(
    metric: Metric, predicted: npt.NDArray[np.generic], references: npt.NDArray[np.generic]
) -> Floats:
    return np.stack([metric.unit_statistics(Answers(seed, references, ("no", "yes"))) for seed in predicted])


def board_spreads(cells: Path) -> list[list[float]]:
    """Return by task the standard deviation of each row's scores over seeds, from the ``cells.csv`` of a board."""
    table = pd.read_csv(cells)
    spreads = table.groupby(["task", "strategy"])["score"].std().dropna()
    return [of_task.to_list() for _, of_task in spreads.groupby("task")]


def board_scores(cells: Path) -> list[list[float]]:
    """Return by task each row's mean score, from the ``cells.csv`` of a board."""
    means = pd.read_csv(cells).groupby(["task", "strategy"])["score"].mean()
    return [of_task.to_list() for _, of_task in means.groupby("task")]
