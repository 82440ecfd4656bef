"""Fit a linear classifier on frozen features."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from kdbench import Bench, Strategy, TaskKind, UntrainedParams

if TYPE_CHECKING:
    import numpy as np
    from torch import nn


class LinearProbe(Strategy):
    """Fit one linear layer on features of the frozen base model that are computed once.

    The features are the mean of a text's tokens in the last layer or, in tagging, what the head's last layer reads.

    Alain and Bengio 2016, section 3.1: the problem is convex and is solved to convergence, by logistic or ridge
    regression. The penalty with the best validation score is chosen.
    """

    class Params(UntrainedParams):
        penalties: tuple[Annotated[float, Field(gt=0)], ...] = Field(
            (1.0, 0.1, 0.01, 0.001, 0.0001),
            min_length=1,
            description="L2 penalties to try, on the weights of standardized features, relative to the mean loss",
        )

    name = "linear-probe"
    title = "Linear probe (frozen encoder)"
    citation = (
        "Alain and Bengio 2016, Understanding intermediate layers using linear classifier probes, "
        "arXiv:1610.01644"
    )
    family = "parameter-efficient"
    freezes_base = True
    revision = 2  # 1 read texts through the pooler
    kinds = frozenset(TaskKind)
    params: Params

    def fit(self, bench: Bench) -> nn.Module:
        """Return the encoder with a fitted linear layer.

        Raises:
            UsageError: the head does not end with a linear layer, or all training examples have the same label.
        """
        import numpy as np
        import torch
        from kdbench_plugins._probe_fits import (
            check_labels,
            features_of,
            last_layer,
            logistic_fits,
            multi_label_fits,
            ridge_fits,
        )
        from kdbench_plugins._probe_model import MeanProbe

        started, cpu_started = time.perf_counter(), time.process_time()
        base, task = bench.base(), bench.task.task
        model: nn.Module = base
        if not task.kind.per_word:
            model = MeanProbe.around(base, task.kind.outputs(task.labels))
        layer = last_layer(base) if task.kind.per_word else "classifier"
        train, validation = bench.task.train, bench.task.validation
        features, labels = (np.concatenate(part) for part in features_of(model, layer, train, bench))
        validation_features, references = features_of(model, layer, validation, bench)

        def score(weights: np.ndarray, bias: np.ndarray) -> float:
            return bench.score(
                validation, [rows @ weights.T + bias for rows in validation_features], references
            )

        if task.kind is TaskKind.SEQUENCE_REGRESSION:
            fits = ridge_fits(features, labels, self.params.penalties)
        elif task.kind is TaskKind.MULTI_LABEL_CLASSIFICATION:
            fits = multi_label_fits(features, labels, self.params.penalties)
        else:
            check_labels(self.name, task, labels)
            fits = logistic_fits(features, labels, self.params.penalties, len(task.labels))
        best_score, best = max(((score(*fit), fit) for fit in fits), key=lambda candidate: candidate[0])

        head: Any = model.get_submodule(layer)
        model.requires_grad_(False)
        for parameter, fitted in zip((head.weight, head.bias), best, strict=True):
            parameter.copy_(torch.from_numpy(fitted))
            parameter.requires_grad_(True)
        bench.count_fit(time.perf_counter() - started, train, best_score, time.process_time() - cpu_started)
        return model
