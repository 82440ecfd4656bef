"""Estimate how probably a model is on the Pareto front of high quality and low cost."""

from __future__ import annotations

import numpy as np
import scipy.special

from kdbench.stats.bootstrap import TAILS, Flags, Floats

SURE = 0.995
"""A model with at least this probability is shown to be on the front; one with less than 1 - SURE to be off it. So few are
wrongly taken off a front of 28 rows that it happens in at most 6% of simulated boards (`benchmarks/coverage.py`)."""


def front_probabilities(quality: Floats, cost: Floats, immune: Flags | None = None) -> Floats:
    """Return (models,): the share of draws in which a model is on the front.

    In a draw a model is off the front if some other model has at least its quality at no more than its cost, and is
    better in one of the two.

    Args:
        quality: (draws, models), higher is better; NaN for a model whose quality is unknown.
        cost: (draws, models), lower is better; NaN for a model whose cost is unknown.
        immune: (models, models): whether a better quality of model j cannot excuse that i is cheaper, so that any
            cheaper i puts j off the front; by default for none.

    Returns:
        NaN for a model whose quality or cost is unknown; it puts no other model off the front.
    """
    known = ~np.isnan(quality + cost).any(axis=0)
    shares = np.full(quality.shape[1], np.nan)
    for place in np.flatnonzero(known):
        own_quality, own_cost = quality[:, [place]], cost[:, [place]]
        no_worse = (quality >= own_quality) & (cost <= own_cost)
        beaten = no_worse & ((quality > own_quality) | (cost < own_cost))
        if immune is not None:
            beaten |= immune[:, place] & (cost < own_cost)
        shares[place] = 1 - beaten[:, known].any(axis=1).mean()
    return shares


def drawn_costs(values: Floats, relative_errors: Floats, draws: int, seed: int = 0) -> Floats:
    """Return (draws, models): costs with independent log-normal errors.

    Args:
        values: (models,), above 0.
        relative_errors: (models,): the standard errors of the logarithms; 0 for an exact count.
    """
    errors = np.random.default_rng(seed).normal(size=(draws, len(values)))
    drawn: Floats = values * np.exp(relative_errors * errors)
    return drawn


def relative_error(low: Floats, high: Floats) -> Floats:
    """Return the standard error of the logarithm of a value whose 95% interval is `low` to `high`, both above 0."""
    error: Floats = np.log(high / low) / (2 * scipy.special.ndtri(TAILS[1]))
    return error
