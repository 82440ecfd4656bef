"""Fit linear classifiers and regressions on frozen features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from kdbench import Bench, Task, TaskKind, UsageError, new_layers

if TYPE_CHECKING:
    from datasets import Dataset
    from sklearn.linear_model import LogisticRegression
    from transformers import PreTrainedModel


_NEVER = -100.0
"""The bias of a class without examples: the other logits sum to zero, so that one of them is larger."""
_ITERATIONS = 1000

Fit = tuple[np.ndarray, np.ndarray]
"""Weights ``(outputs, width)`` and bias ``(outputs,)``."""


def fit_layer(
    model: nn.Module, layer: str, bench: Bench, penalties: Sequence[float], *, strategy: str
) -> float:
    """Fit the linear `layer` of `model`, its last, on the training rows, and freeze all others; return the validation score.

    Of the regressions with the `penalties`, logistic or, for numbers, ridge, it takes the one that scores best there.

    Raises:
        UsageError: all training examples have the same label; names `strategy`.
    """
    task, validation = bench.task.task, bench.task.validation
    features, labels = (np.concatenate(part) for part in features_of(model, layer, bench.task.train, bench))
    held_out, references = features_of(model, layer, validation, bench)
    if task.kind is TaskKind.SEQUENCE_REGRESSION:
        fits = ridge_fits(features, labels, penalties)
    elif task.kind is TaskKind.MULTI_LABEL_CLASSIFICATION:
        fits = multi_label_fits(features, labels, penalties)
    else:
        check_labels(strategy, task, labels)
        fits = logistic_fits(features, labels, penalties, len(task.labels))

    def score(weights: np.ndarray, bias: np.ndarray) -> float:
        return bench.score(validation, [rows @ weights.T + bias for rows in held_out], references)

    best_score, best = max(((score(*fit), fit) for fit in fits), key=lambda candidate: candidate[0])

    head: Any = model.get_submodule(layer)
    model.requires_grad_(False)
    for parameter, fitted in zip((head.weight, head.bias), best, strict=True):
        parameter.data.copy_(torch.from_numpy(fitted))
        parameter.requires_grad_(True)
    return best_score


def logistic_fits(
    features: np.ndarray, labels: np.ndarray, penalties: Sequence[float], classes: int
) -> Iterator[Fit]:
    """Yield per penalty the multinomial logistic regression of `labels` on `features`.

    It minimizes the mean cross-entropy and half the penalty times the squared weights of standardized features; the
    bias is not penalized.

    Args:
        features: ``(examples, width)``.
        labels: ``(examples,)``, from 0 to `classes` - 1, with at least two distinct ones.
    """
    from sklearn.linear_model import LogisticRegression

    standard, mean, scale = _standardized(features)
    model = LogisticRegression(max_iter=_ITERATIONS, warm_start=True)
    for penalty in penalties:
        model.set_params(C=1 / (penalty * len(labels))).fit(standard, labels)
        yield _for_raw(*weights_of_all_classes(model, classes), mean, scale)


def multi_label_fits(features: np.ndarray, labels: np.ndarray, penalties: Sequence[float]) -> Iterator[Fit]:
    """Yield per penalty a binary logistic regression of every label on `features`, as in `logistic_fits`.

    A label that all examples have, or none, is answered alike for every text.

    Args:
        features: ``(examples, width)``.
        labels: ``(examples, labels)`` zeros and ones.
    """
    from sklearn.linear_model import LogisticRegression

    standard, mean, scale = _standardized(features)
    for penalty in penalties:
        weights, bias = np.zeros((labels.shape[1], features.shape[1])), np.zeros(labels.shape[1])
        for label, given in enumerate(labels.T):
            if given.min() == given.max():
                bias[label] = -_NEVER if given[0] else _NEVER
                continue
            model = LogisticRegression(C=1 / (penalty * len(labels)), max_iter=_ITERATIONS).fit(
                standard, given
            )
            weights[label], bias[label] = model.coef_[0], model.intercept_[0]
        yield _for_raw(weights, bias, mean, scale)


def check_labels(strategy: str, task: Task, labels: np.ndarray) -> None:
    """Check that there is something to tell apart.

    Args:
        labels: ``(examples,)`` class indices.

    Raises:
        UsageError: all training examples have the same label.
    """
    if len(np.unique(labels)) < 2:
        raise UsageError(
            f"strategy {strategy!r}: all training examples of task {task.name!r} have the label "
            f"{task.labels[int(labels[0])]!r}; take a larger budget"
        )


def weights_of_all_classes(model: LogisticRegression, classes: int) -> Fit:
    """Return the weights and the bias of a fitted `model` for all `classes`, including those without examples."""
    coefficients, intercepts = model.coef_, model.intercept_
    if len(coefficients) == 1:  # for two classes sklearn gives the difference
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    weights, bias = np.zeros((classes, coefficients.shape[1])), np.full(classes, _NEVER)
    weights[model.classes_], bias[model.classes_] = coefficients, intercepts
    return weights, bias


def ridge_fits(features: np.ndarray, targets: np.ndarray, penalties: Sequence[float]) -> Iterator[Fit]:
    """Yield per penalty the ridge regression of `targets` on `features`, with one output.

    It minimizes half the mean squared error and half the penalty times the squared weights of standardized features;
    the bias is not penalized.

    Args:
        features: ``(examples, width)``.
        targets: ``(examples,)``.
    """
    from sklearn.linear_model import Ridge

    standard, mean, scale = _standardized(features)
    for penalty in penalties:
        model = Ridge(alpha=penalty * len(targets)).fit(standard, targets)
        yield _for_raw(model.coef_[None], np.array([model.intercept_]), mean, scale)


def _standardized(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features of mean 0 and standard deviation 1, the means and the deviations; a constant feature becomes 0."""
    mean, scale = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    scale[scale == 0] = 1
    return ((features - mean) / scale).astype(features.dtype), mean, scale


def _for_raw(weights: np.ndarray, bias: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> Fit:
    """Return weights and bias for raw features, equivalent to the given ones for standardized features."""
    weights = weights / scale
    return weights.astype(np.float32), (bias - weights @ mean).astype(np.float32)


def last_layer(model: PreTrainedModel) -> str:
    """Return the name of the head's linear layer that outputs the logits.

    Raises:
        UsageError: the head does not end with a linear layer with a bias.
    """
    for name in reversed(new_layers(model)):
        layer = model.get_submodule(name)
        if isinstance(layer, nn.Linear):
            if layer.out_features == model.config.num_labels and layer.bias is not None:
                return name
            break
    raise UsageError(
        f"{type(model).__name__} has no head that ends with a linear layer with a bias; "
        "take a model like BERT, RoBERTa or DistilBERT"
    )


def features_of(
    model: nn.Module, layer: str, rows: Dataset, bench: Bench
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return per row the inputs of `layer`, the last of `model`, ``(units, width)``, and the labels ``(units,)``.

    A unit is a text or a word, as in `Bench.outputs`.
    """
    with without_layer(model, layer):
        return bench.outputs(model, rows, phase="computing features")


@contextmanager
def without_layer(model: nn.Module, layer: str) -> Iterator[None]:
    """Take `layer`, the last of `model`, out inside the context: its inputs are then returned as logits."""
    last = model.get_submodule(layer)
    model.set_submodule(layer, nn.Identity())
    try:
        yield
    finally:
        model.set_submodule(layer, last)
