import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

from kdbench.api.bench import model_inputs
from kdbench.api.model_classes import register_model_classes
from kdbench.errors import KdbenchError, UsageError
from kdbench.models.artifacts import Adapter, load_artifact, save_artifact, stored_parameters
from kdbench.models.build import load_base
from kdbench.plugins import load_plugins
from kdbench.training.predict import predict

VERSION_0_1 = Path(__file__).parent / "artifacts_of_version_0_1"


"""Tiny models of random weights, written by kdbench 0.1, each with a batch and its logits."""


class Linear(nn.Module):
    """The least that a strategy's own model must be able to do."""

    def __init__(self, weight=None):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4) if weight is None else weight)

    def save_pretrained(self, folder):
        save_file({"weight": self.weight.detach()}, folder / "model.safetensors")

    @classmethod
    def from_pretrained(cls, folder):
        return cls(load_file(folder / "model.safetensors")["weight"])

    class Inner(nn.Linear):
        def save_pretrained(self, folder):
            save_file(dict(self.state_dict()), folder / "model.safetensors")

        @classmethod
        def from_pretrained(cls, folder):
            model = cls(2, 2)
            model.load_state_dict(load_file(folder / "model.safetensors"))
            return model


class Unregistered(Linear):
    pass


class Pickling(Linear):
    def save_pretrained(self, folder):
        (folder / "weights").mkdir()
        torch.save(self.state_dict(), folder / "weights" / "model.pt")


register_model_classes(
    {
        key: f"{__name__}:{name}"
        for key, name in {"linear": "Linear", "inner": "Linear.Inner", "pickling": "Pickling"}.items()
    }
)


@pytest.fixture
def tokenizer(make_experiment):
    return make_experiment().tokenizer


@pytest.mark.parametrize("task", ["toy-sentiment", "toy-tags", "toy-score"])
def test_a_model_answers_the_same_after_the_round_trip(make_experiment, tmp_path, task):
    experiment = make_experiment(task)
    model = load_base(experiment.base.path, experiment.kind, experiment.task.task.labels, seed=3).eval()
    save_artifact(model, experiment.tokenizer, tmp_path / "artifact")
    reloaded = load_artifact(tmp_path / "artifact")
    assert type(reloaded) is type(model)
    assert not reloaded.training
    batch = model_inputs(experiment.collate([experiment.task.scored[i] for i in range(8)]))
    with torch.no_grad():
        assert torch.equal(reloaded(**batch).logits, model(**batch).logits)


def test_the_folder_holds_no_pickle_and_is_one_that_transformers_reads(make_experiment, tmp_path):
    experiment = make_experiment("toy-tags")
    model = load_base(experiment.base.path, experiment.kind, experiment.task.task.labels, seed=3)
    folder = tmp_path / "artifact"
    save_artifact(model, experiment.tokenizer, folder)
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".safetensors", ".txt"}
    plain = pipeline(
        "token-classification",
        model=AutoModelForTokenClassification.from_pretrained(folder),
        tokenizer=AutoTokenizer.from_pretrained(folder),
    )
    assert {word["entity"] for word in plain("anna was in oslo")} <= set(experiment.task.task.labels)


@pytest.mark.parametrize("model", [Linear(), Linear.Inner(2, 2)], ids=["top level", "nested class"])
def test_a_model_of_ones_own_comes_back_as_what_it_was(tokenizer, tmp_path, model):
    save_artifact(model, tokenizer, tmp_path / "artifact")
    reloaded = load_artifact(tmp_path / "artifact")
    assert type(reloaded) is type(model)
    assert torch.equal(reloaded.weight, model.weight)


def test_the_folder_names_the_class_by_its_key(tokenizer, tmp_path):
    save_artifact(Linear(), tokenizer, tmp_path / "artifact")
    assert json.loads((tmp_path / "artifact" / "kdbench.json").read_text()) == {"model": "linear"}


def test_a_model_whose_class_nobody_registers_is_refused_with_the_hook(tokenizer, tmp_path):
    with pytest.raises(
        KdbenchError, match=r"Unregistered cannot be loaded elsewhere: .* kdbench_model_classes"
    ):
        save_artifact(Unregistered(), tokenizer, tmp_path / "artifact")


def test_a_key_that_stands_for_a_class_is_not_given_to_another():
    with pytest.raises(UsageError, match="model class 'linear' is taken"):
        register_model_classes({"linear": "somewhere:Else"})
    with pytest.raises(UsageError, match="'Linear' is not 'module:Class'"):
        register_model_classes({"another": "Linear"})


@pytest.mark.parametrize("folder", sorted(VERSION_0_1.iterdir()), ids=lambda folder: folder.name)
def test_an_artifact_of_version_0_1_answers_as_it_did(folder):
    load_plugins()  # they register the classes that they have moved
    batch = load_file(folder / "batch.safetensors")
    expected = batch.pop("logits")
    with torch.no_grad():
        logits = load_artifact(folder)(**batch).logits
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


def test_a_model_that_cannot_write_itself_is_refused_by_name(tokenizer, tmp_path):
    with pytest.raises(KdbenchError, match="Bilinear cannot be deployed: it lacks save_pretrained"):
        save_artifact(nn.Bilinear(2, 2, 2), tokenizer, tmp_path / "artifact")
    assert not (tmp_path / "artifact").exists()


def test_a_model_that_writes_a_pickle_is_refused_with_the_file(tokenizer, tmp_path):
    with pytest.raises(KdbenchError, match=r"Pickling wrote model\.pt, a pickle; write safetensors"):
        save_artifact(Pickling(), tokenizer, tmp_path / "artifact")


def test_a_model_whose_class_no_other_process_can_find_is_refused(tokenizer, tmp_path):
    class Hidden(Linear):
        pass

    with pytest.raises(KdbenchError, match=r"Hidden cannot be loaded elsewhere.*top of a module"):
        save_artifact(Hidden(), tokenizer, tmp_path / "artifact")


def test_an_earlier_artifact_is_never_mixed_with_a_new_one(tokenizer, tmp_path: Path):
    save_artifact(Linear(), tokenizer, tmp_path / "artifact")
    with pytest.raises(FileExistsError):
        save_artifact(Linear(), tokenizer, tmp_path / "artifact")


# An adapter kept apart is the model that was trained.


def test_a_plain_model_has_no_adapter(make_bench):
    _, bench = make_bench("finetune")
    assert Adapter.of(bench.base()) is None


def test_it_outlives_the_merge_and_answers_as_the_merged_model(make_bench, tmp_path, tiny_model):
    strategy, bench = make_bench("lora[r=2]")
    model = strategy.fit(bench)
    adapter = Adapter.of(model)
    merged = strategy.finalize(model, bench).eval()
    adapter.save(tmp_path / "adapter")
    experiment = bench.experiment
    base = load_base(tiny_model, experiment.kind, experiment.task.task.labels, seed=5)
    again = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    one, other = (
        predict(found, experiment.task.scored, experiment.collate, device=torch.device("cpu")).logits
        for found in (merged, again)
    )
    assert abs(one - other).max() < 1e-5
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert stored_parameters(tmp_path / "adapter") == sum(weight.numel() for weight in weights.values())
    assert str(tiny_model) not in (tmp_path / "adapter" / "adapter_config.json").read_text()
