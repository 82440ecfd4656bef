"""SetFit: pairs of a batch, then a linear layer."""

import math
from itertools import combinations
from statistics import fmean

import pytest
import torch
from helpers.training import no_report
from kdbench_plugins.setfit import SetFit

from kdbench import losses
from kdbench.training.bench import TrainingBench


def test_the_loss_of_pairs_is_that_of_the_formula():
    half = math.sqrt(0.5)
    vectors = torch.tensor([[2.0, 0.0], [0.0, 5.0], [3.0, 3.0]])  # cosines 0, half and half
    same, others = (0 - 1) ** 2, (half**2 + half**2) / 2
    assert losses.pair_loss(vectors, torch.tensor([4, 4, 1])).item() == pytest.approx((same + others) / 2)
    assert losses.pair_loss(vectors, torch.tensor([0, 1, 2])).item() == pytest.approx((0 + 0.5 + 0.5) / 3)
    assert losses.pair_loss(vectors, torch.tensor([7, 7, 7])).item() == pytest.approx(
        (1 + 2 * (half - 1) ** 2) / 3
    )
    assert losses.pair_loss(vectors[:1], torch.tensor([0])).item() == 0


def test_pairs_of_one_label_count_as_much_as_all_others_however_many_there_are():
    torch.manual_seed(0)
    vectors, labels = torch.randn(9, 5), [0, 0, 0, 0, 0, 0, 0, 1, 2]
    cosines = torch.cosine_similarity(vectors[:, None], vectors[None], dim=-1)
    distances = {True: [], False: []}
    for first, second in combinations(range(9), 2):
        same = labels[first] == labels[second]
        distances[same].append((cosines[first, second].item() - same) ** 2)
    assert [len(part) for part in distances.values()] == [21, 15]
    expected = (fmean(distances[True]) + fmean(distances[False])) / 2
    assert losses.pair_loss(vectors, torch.tensor(labels)).item() == pytest.approx(expected, abs=1e-6)


def test_the_encoder_is_trained_for_the_budgets_steps_and_the_head_is_solved(make_experiment):
    strategy = SetFit(SetFit.Params(learning_rate=1e-3))
    bench = TrainingBench(make_experiment(), strategy, 0, no_report)
    model = strategy.fit(bench)
    assert [(run.steps, run.best_score is None) for run in bench.runs] == [(4, True), (0, False)]
    assert bench.runs[1].best_score == pytest.approx(bench.validation_score(model), abs=1e-6)
    base = bench.base()
    before = base.base_model.state_dict()
    after = model.encoder.state_dict()
    assert not any("pooler" in name for name in after)
    assert not torch.equal(
        after["encoder.layer.0.attention.self.query.weight"],
        before["encoder.layer.0.attention.self.query.weight"],
    )
    assert all(weight.requires_grad for weight in model.parameters())
