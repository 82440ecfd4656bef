"""Weigh the loss against labels as a strategy's parameters say: by class, or by how wrong an answer is."""

from __future__ import annotations

from kdbench.api.kind import LabelWeighting, TaskKind
from kdbench.api.params import Params
from kdbench.data import PreparedTask


def weighted_kind(kind: TaskKind, params: Params, task: PreparedTask) -> TaskKind:
    """Return `kind` with the label loss that `params` ask for, its class weights from the training labels of `task`.

    Raises:
        UsageError: `params` ask for a weighting, and the kind has none.
    """
    if params.class_weights == "none" and not params.focal_gamma:
        return kind
    weights = None
    if params.class_weights == "balanced":
        weights = kind.balanced_weights(task.label_counts, task.train_examples)
    return kind.weighing(LabelWeighting(weights, params.focal_gamma))
