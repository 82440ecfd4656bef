"""Test and bound a difference whose variance is known only as a distribution over possible variances.

The difference is normal with one of these variances, so that its error is a mixture of normals; p-values are averaged
over the variances given what the seeds show of them (Cox's partially Bayes inference; Ignatiadis & Sen 2025).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.special

from kdbench.stats.bootstrap import Floats


@dataclass(frozen=True, eq=False)
class ErrorMixture:
    """The possible variances of an error, and how likely each is."""

    variances: Floats
    """(..., nodes)."""
    weights: Floats
    """(..., nodes), summing to 1."""
    df: float
    """The degrees of freedom of the part of the variance that is estimated by resampling the examples."""

    def tail(self, error: Floats) -> Floats:
        """Return (...): the probability of an error of at least `error` (...), one-sided."""
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.asarray(error, dtype=np.float64)[..., None] / np.sqrt(self.variances)
        t = np.where(np.isnan(t), 0.0, t)  # an error of 0 whose variance is 0
        tails: Floats = (scipy.special.stdtr(self.df, -t) * self.weights).sum(axis=-1)
        return tails

    def bound(self, alpha: float) -> float:
        """Return the error that is exceeded with probability `alpha`, below 0.5; for one mixture, of (nodes,)."""
        widest = float(np.sqrt(self.variances.max()))
        if widest == 0:
            return 0.0
        high = widest
        while self.tail(np.asarray(high)) > alpha:
            high *= 2
        return float(
            scipy.optimize.brentq(lambda error: float(self.tail(np.asarray(error))) - alpha, 0.0, high)
        )


def sum_of(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Return variances and weights (..., n * m) of the sum of two independent errors, each (variances, weights)."""
    variances = first[0][..., :, None] + second[0][..., None, :]
    weights = first[1][..., :, None] * second[1][..., None, :]
    shape = (*variances.shape[:-2], -1)
    return variances.reshape(shape), weights.reshape(shape)
