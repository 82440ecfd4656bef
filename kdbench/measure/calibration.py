"""How far a model's probabilities can be taken at their word."""

from __future__ import annotations

import numpy as np

from kdbench.predictions import Predictions

BINS = 15


def expected_calibration_error(predictions: Predictions, bins: int = BINS) -> float | None:
    """Return the mean gap between confidence and accuracy, over bins of equal width (Guo et al. 2017, equation 3).

    A unit's confidence is the largest of its probabilities; bin i takes those in ((i - 1) / bins, i / bins]. 0 is best.
    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv:1706.04599. None for regression.
    """
    if predictions.is_regression:
        return None
    confidence = predictions.probabilities.max(axis=1)
    right = predictions.predicted == predictions.references
    bin_of = np.ceil(confidence * bins).astype(int).clip(1, bins) - 1
    gaps = np.bincount(bin_of, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def brier_score(predictions: Predictions) -> float | None:
    """Return the squared distance between probabilities and the right answer, summed over classes; the units' mean.

    From 0, which is best, to 2: two classes give twice what is common for a single probability. Source: Brier 1950,
    Verification of Forecasts Expressed in Terms of Probability, equation 2. None for regression.
    """
    if predictions.is_regression:
        return None
    distances = predictions.probabilities.copy()
    distances[np.arange(len(distances)), predictions.references] -= 1
    return float(np.square(distances).sum(axis=1).mean())
