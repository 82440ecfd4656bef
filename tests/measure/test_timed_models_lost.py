from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from kdbench.evaluation.predictions import Predictions
from kdbench.measure.timed_models import score_lost


class AlwaysTheFirst(nn.Module):
    def forward(self, input_ids, attention_mask, token_type_ids=None):
        return SimpleNamespace(logits=torch.tensor([[1.0, 0.0]]).expand(len(input_ids), 2))


def test_the_loss_is_the_difference_of_the_scores_on_the_same_examples(make_experiment):
    experiment = make_experiment()
    rows = experiment.task.scored
    right = np.asarray(rows["labels"])
    ids = np.asarray(rows["example"])
    # Answers that are right but for the first example; in an order of their own.
    logits = np.eye(2, dtype=np.float32)[np.where(np.arange(len(right)) == 0, 1 - right, right)]
    answers = Predictions(ids[::-1].copy(), logits[::-1].copy(), right[::-1].copy())
    of_the_first = np.mean(right == 0)
    assert 0 < of_the_first < 1
    assert score_lost(AlwaysTheFirst(), answers, experiment) == pytest.approx(
        1 - 1 / len(right) - of_the_first
    )
