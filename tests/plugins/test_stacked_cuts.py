"""The cutting transforms one upon the other, as cells that are trained, saved, loaded and scored."""

import json

import pytest
from helpers.support import key_named
from helpers.training import no_report

from kdbench.api.spec import parse_spec
from kdbench.models.artifacts import load_artifact
from kdbench.models.foreign import load_tokenizer
from kdbench.results.paths import CellFiles
from kdbench.results.records import RecordStore
from kdbench.run.cell import CellOrder, score_cell, train_cell

pytestmark = pytest.mark.slow


@pytest.fixture
def finish(make_config):
    """Run both stages of one cell; return its record, its files and when each model of the run was made."""
    config = make_config()

    def run(spec, key, task="toy-sentiment"):
        key = key_named(key)
        order = CellOrder(config=config, spec=parse_spec(spec), task=task, seed=0, key=key).model_dump_json()
        train_cell(order, no_report)
        score_cell(order, no_report)
        made = {
            path.parent.name: path.stat().st_mtime_ns for path in config.results.glob("models/*/fit.json")
        }
        return RecordStore(config.results).get(key), CellFiles(config.results, key), made

    return run


def test_each_stage_makes_the_model_smaller_and_is_trained_once(finish):
    stages = ["hard-labels[layers=2,init=base]", "prune-ffn", "trim-vocab"]
    whole, files, made = finish("+".join(stages), "0" * 20)
    assert len(made) == 3  # a model a stage, the last under its own key
    model, tokenizer = load_artifact(files.artifact), load_tokenizer(files.artifact)
    assert model.config.num_hidden_layers == 2
    assert model.config.intermediate_size == 32
    assert model.config.vocab_size == len(tokenizer) < 84
    # Two layers in the budget's six steps, and as many after the cut; trimming trains nothing.
    assert whole.cost.steps == 6 + 6

    shorter, _, found = finish("+".join([*stages[:2], "drop-layers[drop=1,recovery=0.0]"]), "1" * 20)
    assert {name: time for name, time in found.items() if name in made} == made
    assert len(found) == 4
    assert shorter.cost.steps == whole.cost.steps
    assert shorter.size.non_embedding_parameters < whole.size.non_embedding_parameters
    assert whole.size.artifact_bytes < 4 * 40_162  # the tiny model's weights


def test_a_model_without_some_heads_can_be_cut_further(finish):
    record, files, _ = finish(
        "hard-labels[init=base,layers=3]+prune-heads+trim-vocab+drop-layers[drop=1]",
        "2" * 20,
        "toy-tags",
    )
    settings = json.loads((files.artifact / "settings.json").read_text())
    config = settings["architecture"]["config"]
    assert len(settings["heads"]) == config["num_hidden_layers"] == 2
    assert sum(settings["heads"]) < 4
    assert config["vocab_size"] == len(load_tokenizer(files.artifact))
    assert record.quality is not None
