"""Predictions of one's own, from probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kdbench.api.predictions import Predictions


def predictions_of(
    probabilities: Sequence[Sequence[float]],
    references: Sequence[int],
    *,
    ids: Sequence[int] | None = None,
    offsets: Sequence[int] | None = None,
) -> Predictions:
    """Return predictions whose softmax is `probabilities`, all above 0."""
    examples = len(references) if offsets is None else len(offsets) - 1
    return Predictions(
        ids=np.array(ids if ids is not None else range(examples), dtype=np.int64),
        logits=np.log(np.array(probabilities)).astype(np.float32),
        references=np.array(references, dtype=np.int64),
        offsets=None if offsets is None else np.array(offsets, dtype=np.int64),
    )


def tagged(
    answers: Sequence[Sequence[str]], right: Sequence[Sequence[str]], labels: tuple[str, ...]
) -> Predictions:
    """Return predictions of these tags, sentence by sentence."""
    predicted = [labels.index(tag) for tags in answers for tag in tags]
    return Predictions(
        ids=np.arange(len(right)),
        logits=np.eye(len(labels), dtype=np.float32)[predicted],
        references=np.array([labels.index(tag) for tags in right for tag in tags], dtype=np.int64),
        offsets=np.cumsum([0, *(len(tags) for tags in right)]),
    )


REGRESSION = Predictions(
    ids=np.arange(2),
    logits=np.array([[0.5], [1.5]], dtype=np.float32),
    references=np.array([0.0, 2.0], dtype=np.float32),
)
