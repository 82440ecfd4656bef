"""A linear classifier on frozen features."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from kdbench_plugins._parameter_efficient import head_modules
from pydantic import Field
from torch import nn

from kdbench import Strategy, TaskKind, UntrainedParams, UsageError
from kdbench.training.predict import row_logits

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

    from kdbench.training.bench import Bench


_NEVER = -100.0
"""The bias of a class without an example: the others' logits sum to zero, so that one of them is larger."""
_ITERATIONS = 1000

Fit = tuple[np.ndarray, np.ndarray]
"""Weights ``(outputs, width)`` and bias ``(outputs,)``, for features as they are."""


def logistic_fits(
    features: np.ndarray, labels: np.ndarray, penalties: Sequence[float], classes: int
) -> Iterator[Fit]:
    """Yield for each of `penalties` the multinomial logistic regression of `labels` on `features`.

    It minimizes the mean cross-entropy and half the penalty times the squared weights of standardized features; the
    bias is free.

    Args:
        features: ``(examples, width)``.
        labels: ``(examples,)``, from 0 up to `classes`, at least two of them different.
    """
    from sklearn.linear_model import LogisticRegression

    standard, mean, scale = _standardized(features)
    model = LogisticRegression(max_iter=_ITERATIONS, warm_start=True)
    for penalty in penalties:
        model.set_params(C=1 / (penalty * len(labels))).fit(standard, labels)
        found, offsets = model.coef_, model.intercept_
        if len(found) == 1:  # of two classes sklearn gives the difference
            found, offsets = np.concatenate([-found, found]) / 2, np.concatenate([-offsets, offsets]) / 2
        weights, bias = np.zeros((classes, features.shape[1])), np.full(classes, _NEVER)
        weights[model.classes_], bias[model.classes_] = found, offsets
        yield _for_raw(weights, bias, mean, scale)


def ridge_fits(features: np.ndarray, targets: np.ndarray, penalties: Sequence[float]) -> Iterator[Fit]:
    """Yield for each of `penalties` the ridge regression of `targets` on `features`, with one output.

    It minimizes half the mean squared error and half the penalty times the squared weights of standardized features;
    the bias is free.

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
    """Return the features with mean 0 and deviation 1, their means and deviations; a constant one becomes 0."""
    mean, scale = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    scale[scale == 0] = 1
    return ((features - mean) / scale).astype(features.dtype), mean, scale


def _for_raw(weights: np.ndarray, bias: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> Fit:
    """Return the weights and bias that give for raw features what these give for standardized ones."""
    weights = weights / scale
    return weights.astype(np.float32), (bias - weights @ mean).astype(np.float32)


def last_layer(model: PreTrainedModel) -> str:
    """Return the name of the linear layer of the head whose output is the logits.

    Raises:
        UsageError: the head does not end with one.
    """
    for name, module in reversed(list(model.named_modules())):
        if isinstance(module, nn.Linear) and name.partition(".")[0] in head_modules(model):
            if module.out_features == model.config.num_labels and module.bias is not None:
                return name
            break
    raise UsageError(
        f"{type(model).__name__} has no head that ends with a linear layer with a bias; "
        "take a model like BERT, RoBERTa or DistilBERT"
    )


def last_features(
    model: PreTrainedModel, rows: Dataset, bench: Bench
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return for each of `rows` what the last layer of `model` reads, ``(units, width)``, and its labels ``(units,)``.

    A unit is a text or a word, as in `kdbench.training.predict`.
    """
    name = last_layer(model)
    layer = model.get_submodule(name)
    model.set_submodule(name, nn.Identity())  # the model then answers with what the layer reads
    try:
        nn.Module.to(model, bench.experiment.device)
        return row_logits(
            model,
            rows,
            bench.experiment.collate,
            device=bench.experiment.device,
            report=lambda done, total: bench.report("computing features", done, total, None),
        )
    finally:
        model.set_submodule(name, layer)


class LinearProbe(Strategy):
    """Fit the head's last layer alone, on features of the frozen base model that are computed once.

    Alain and Bengio 2016, section 3.1: the probe is convex, so that it is fitted to the end, by logistic or ridge
    regression. The penalty is that of the best score on the validation part.
    """

    class Params(UntrainedParams):
        """How strongly the weights are held small, and how the head's other layers start."""

        without_effect = UntrainedParams.without_effect - {"new_layers"}
        penalties: tuple[Annotated[float, Field(gt=0)], ...] = Field(
            (1.0, 0.1, 0.01, 0.001, 0.0001),
            min_length=1,
            description="L2 penalties that are tried, on the weights of standardized features, beside the mean loss",
        )

    name = "linear-probe"
    title = "Linear probe (frozen encoder)"
    citation = (
        "Alain and Bengio 2016, Understanding intermediate layers using linear classifier probes, "
        "arXiv:1610.01644"
    )
    family = "parameter-efficient"
    freezes_base = True
    kinds = frozenset(TaskKind)
    params: Params

    def fit(self, bench: Bench) -> nn.Module:
        """Return the base model with its head's last layer fitted.

        Raises:
            UsageError: the head does not end with a linear layer, or all training examples have one label.
        """
        import numpy as np
        import torch

        from kdbench.training.predict import join_rows
        from kdbench.training.trainer import TrainingRun

        started = time.perf_counter()
        model, task = bench.base(), bench.task.task
        train, validation = bench.task.train, bench.task.validation
        features, labels = (np.concatenate(part) for part in last_features(model, train, bench))
        held_out, references = last_features(model, validation, bench)

        def score(weights: np.ndarray, bias: np.ndarray) -> float:
            answers = join_rows(
                validation, [rows @ weights.T + bias for rows in held_out], references, task.kind
            )
            return bench.experiment.metric.of(answers, task.labels)

        if task.kind is TaskKind.SEQUENCE_REGRESSION:
            fits = ridge_fits(features, labels, self.params.penalties)
        elif len(np.unique(labels)) > 1:
            fits = logistic_fits(features, labels, self.params.penalties, len(task.labels))
        else:
            raise UsageError(
                f"strategy 'linear-probe': all training examples of task {task.name!r} have the label "
                f"{task.labels[int(labels[0])]!r}; take a larger budget"
            )
        best_score, best = max(((score(*fit), fit) for fit in fits), key=lambda scored: scored[0])

        head = model.get_submodule(last_layer(model))
        model.requires_grad_(False)
        for parameter, fitted in zip((head.weight, head.bias), best, strict=True):
            parameter.copy_(torch.from_numpy(fitted))
            parameter.requires_grad_(True)
        bench.runs.append(
            TrainingRun(
                train_s=time.perf_counter() - started,
                steps=0,
                examples=len(train),
                tokens=sum(train["length"]),
                best_score=best_score,
            )
        )
        return model
