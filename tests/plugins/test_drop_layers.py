import pytest
import torch
from helpers.cutting import answers, transformed
from kdbench_plugins.drop_layers import DropLayers
from transformers import AutoModelForTokenClassification

from kdbench.errors import UsageError
from kdbench.models.build import load_base


@pytest.fixture
def fitted(tiny_model):
    def make(experiment):
        return load_base(tiny_model, experiment.kind, experiment.task.task.labels, seed=0)

    return make


@pytest.mark.parametrize("task", ["toy-sentiment", "toy-tags", "toy-score"])
def test_the_lower_layers_stay_as_they_are(make_experiment, fitted, task):
    experiment = make_experiment(task)
    whole = fitted(experiment)
    model, bench = transformed(DropLayers, fitted(experiment), experiment, drop=3, recovery=0.0)
    assert bench.runs == []
    assert len(model.bert.encoder.layer) == model.config.num_hidden_layers == 1
    weights = whole.state_dict()
    assert {name for name in weights if name not in model.state_dict()} == {
        name for name in weights if any(f"layer.{layer}." in name for layer in (1, 2, 3))
    }
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_what_is_left_is_trained_and_is_a_plain_model(make_experiment, fitted, tmp_path):
    experiment = make_experiment("toy-tags")
    untrained, _ = transformed(DropLayers, fitted(experiment), experiment, recovery=0.0)
    model, bench = transformed(DropLayers, fitted(experiment), experiment, recovery=0.5)
    assert [run.steps for run in bench.runs] == [2]  # of the tiny budget's four
    assert not torch.equal(answers(model, experiment), answers(untrained, experiment))
    model.save_pretrained(tmp_path)
    again = AutoModelForTokenClassification.from_pretrained(tmp_path)
    torch.testing.assert_close(answers(again, experiment), answers(model, experiment), rtol=0, atol=1e-6)


def test_more_layers_than_there_are_cannot_be_dropped(make_experiment, fitted):
    experiment = make_experiment()
    with pytest.raises(UsageError, match="drop=4, but the model has 4 layers; drop at most 3"):
        transformed(DropLayers, fitted(experiment), experiment, drop=4)
