"""How far a student answers as its teacher does, right or wrong (Xu et al. 2021, Beyond Preserved Accuracy)."""

from __future__ import annotations

import numpy as np
from scipy.special import rel_entr

from kdbench.measure.selecting import same_units
from kdbench.predictions import Predictions


def label_loyalty(student: Predictions, teacher: Predictions) -> float | None:
    """Return the share of units on which both predict the same label (Xu et al. 2021, arXiv:2109.03228).

    A unit is a text, or a word in token classification. None for regression, which has no labels.

    Raises:
        KdbenchError: the predictions are not for the same examples.
    """
    ordered = same_units(student, teacher)
    if student.is_regression:
        return None
    return float(np.mean(student.predicted == ordered.predicted))


def probability_loyalty(student: Predictions, teacher: Predictions) -> float | None:
    """Return the mean over units of 1 - sqrt(JSD) between the two distributions over labels, from 0 to 1.

    JSD is the Jensen-Shannon divergence in bits; its root is a distance (Xu et al. 2021, arXiv:2109.03228).
    None for regression.

    Raises:
        KdbenchError: the predictions are not for the same examples.
    """
    ordered = same_units(student, teacher)
    if student.is_regression:
        return None
    own, other = student.probabilities, ordered.probabilities
    middle = (own + other) / 2
    twice_in_nats = (rel_entr(own, middle) + rel_entr(other, middle)).sum(axis=1)
    # Between equal distributions rounding may leave a divergence below zero, which has no root.
    divergences = np.maximum(twice_in_nats, 0) / (2 * np.log(2))
    return float(1 - np.sqrt(divergences).mean())
