"""Choose the thresholds of decisions on validation examples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from kdbench.api.metric import quotient
from kdbench.api.predictions import Predictions

LEAST_EXAMPLES = 5
"""A label that fewer validation texts have, or lack, keeps the threshold 0: F1 of so few would fit their noise."""


def f1_thresholds(validation: Predictions) -> tuple[float, ...]:
    """Return for each label the threshold on its logit with the best F1 on `validation`, in multi-label classification.

    Each label has its own (SCut of Yang 2001, compared by Fan & Lin 2007, A Study on Threshold Selection for
    Multi-label Classification). Candidates lie halfway between neighbouring logits; of equally good ones the nearest to
    0, a probability of one half, is chosen.
    """
    return tuple(
        f1_threshold(validation.logits[:, label], validation.references[:, label] == 1)
        for label in range(validation.logits.shape[1])
    )


def with_thresholds_chosen(validation: Predictions) -> Predictions:
    """Return `validation` decided by its `f1_thresholds`; unchanged unless it has several labels per text.

    A label whose probability has not passed one half yet would score 0 however well it ranks the texts, so that early
    stopping could not tell the validations of a training apart.
    """
    if not validation.is_multi_label:
        return validation
    return replace(validation, thresholds=np.array(f1_thresholds(validation), dtype=np.float32))


def f1_threshold(logits: npt.NDArray[np.float32], positive: npt.NDArray[np.bool_]) -> float:
    """Return the threshold on `logits` (examples,) with the best F1 of `positive` (examples,); 0 if there are too few."""
    if min(positive.sum(), (~positive).sum()) < LEAST_EXAMPLES:
        return 0.0
    values = np.unique(logits.astype(np.float64))
    candidates = np.concatenate([[values[0] - 1], (values[:-1] + values[1:]) / 2, [0.0]]).astype(np.float32)
    # Of the examples in ascending order those from the first above the candidate on are predicted.
    order = np.argsort(logits, kind="stable")
    first = np.searchsorted(logits[order], candidates, side="right")
    hits = np.append(positive[order][::-1].cumsum()[::-1], 0)[first]
    predicted = len(logits) - first
    f1 = quotient(2.0 * hits, predicted + positive.sum())
    best = np.flatnonzero(f1 == f1.max())
    return float(candidates[best[np.abs(candidates[best]).argmin()]])
