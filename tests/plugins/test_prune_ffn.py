import copy

import pytest
import torch
from helpers.cutting import answers, transformed
from helpers.training import KINDS
from kdbench_plugins._pruning import feed_forwards
from kdbench_plugins.prune_ffn import PruneFFN
from transformers import AutoModelForSequenceClassification

from kdbench.models.build import load_base
from kdbench.models.cost import count_parameters

NEURON = 32 + 1 + 32
"""The weights of one of the tiny model's neurons: into it, its bias, and out of it."""


@pytest.fixture
def fitted(tiny_model):
    def make(experiment):
        return load_base(tiny_model, experiment.kind, experiment.task.task.labels, seed=0)

    return make


@pytest.mark.parametrize("task", KINDS)
def test_neurons_that_have_no_say_go_first(make_experiment, fitted, task):
    experiment = make_experiment(task)
    model = fitted(experiment)
    loud = torch.randperm(64, generator=torch.Generator().manual_seed(3))[:16].sort().values
    for block in feed_forwards(model, "test"):
        silent = torch.ones(64, dtype=torch.bool)
        silent[loud] = False
        block.outer.weight.data[:, silent] = 0
    pruned, bench = transformed(PruneFFN, copy.deepcopy(model), experiment, share=0.75, recovery=0.0)
    torch.testing.assert_close(answers(pruned, experiment), answers(model, experiment), rtol=0, atol=1e-5)
    assert bench.runs == []
    for before, after in zip(feed_forwards(model, "test"), feed_forwards(pruned, "test"), strict=True):
        (now,), (then,) = (block.parts.inner for block in (after, before))
        assert torch.equal(now.linear.weight, then.linear.weight[loud])
        assert torch.equal(now.linear.bias, then.linear.bias[loud])
        assert torch.equal(after.outer.weight, before.outer.weight[:, loud])
        assert torch.equal(after.outer.bias, before.outer.bias)


@pytest.mark.parametrize(("share", "left"), [(0.0, 64), (0.5, 32), (0.33, 43), (0.999, 1)])
def test_as_many_neurons_go_from_every_layer_and_one_stays(make_experiment, fitted, share, left):
    experiment = make_experiment()
    model = fitted(experiment)
    size = count_parameters(model)
    pruned, _ = transformed(PruneFFN, model, experiment, share=share, recovery=0.0, examples=8)
    assert [block.neurons for block in feed_forwards(pruned, "test")] == [left] * 4
    assert size - count_parameters(pruned) == 4 * (64 - left) * NEURON
    assert pruned.config.intermediate_size == left


def test_recovery_weighs_the_model_before_the_cut_against_the_labels(make_experiment, fitted):
    """Uncut and without dropout, a model agrees with itself: the loss against it starts at zero."""
    experiment = make_experiment()

    def first_loss(alpha):
        _, bench = transformed(PruneFFN, fitted(experiment), experiment, share=0.0, alpha=alpha, dropout=0.0)
        return bench.runs[0].curve.losses[0]

    by_labels = first_loss(0.0)
    assert by_labels > 0.1
    assert first_loss(1.0) == pytest.approx(0, abs=1e-3)
    assert first_loss(0.25) == pytest.approx(0.75 * by_labels, rel=0.02)


def test_what_is_left_is_trained_and_is_a_plain_model(make_experiment, fitted, tmp_path):
    experiment = make_experiment()
    model = fitted(experiment)
    pruned, bench = transformed(PruneFFN, model, experiment)
    assert pruned is model
    assert [run.steps for run in bench.runs] == [4]  # those of the tiny budget
    pruned.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    torch.testing.assert_close(answers(again, experiment), answers(pruned, experiment), rtol=0, atol=1e-6)
    assert count_parameters(again) == count_parameters(pruned)
