"""What quality a model loses where something else runs it."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from kdbench.evaluation.diagnostics import select_examples
from kdbench.evaluation.metrics import get_metric
from kdbench.evaluation.predictions import Predictions
from kdbench.training.experiment import Experiment
from kdbench.training.predict import predict

MOST_EXAMPLES = 1000
"""Scored examples that are answered once more at most."""


def score_lost(model: nn.Module, answers: Predictions, experiment: Experiment) -> float:
    """Return by how much `answers` score higher on the headline metric than what `model` gives to the same examples.

    Args:
        model: runs on the CPU.
        answers: to all scored examples.
        experiment: its scored rows are encoded by the model's tokenizer; the first examples of them are answered.
    """
    task, rows = experiment.task.task, experiment.task.scored
    examples = np.asarray(rows["example"])
    answered = np.flatnonzero(np.isin(examples, np.unique(examples)[:MOST_EXAMPLES]))
    found = predict(model, rows.select(answered), experiment.collate, device=torch.device("cpu"))
    metric = get_metric(task.metric)
    return metric.of(select_examples(answers, found.ids), task.labels) - metric.of(found, task.labels)
