"""Transforms upon strategies, and strategies on all tasks at once: parsed, planned, run, resumed."""

import helpers.stacking_plugin
import numpy as np
import pytest
from safetensors.torch import load_file

from kdbench.api.predictions import Predictions
from kdbench.api.spec import parse_spec
from kdbench.api.strategy import spec_of
from kdbench.errors import UsageError
from kdbench.plugins import load_plugins
from kdbench.results.paths import CellFiles
from kdbench.results.records import RecordStore, Status
from kdbench.run.plan import cells_of
from kdbench.run.progress import Watcher
from kdbench.run.runner import run
from kdbench.training.teacher import TeacherStore

pytestmark = pytest.mark.slow


class Silent(Watcher):
    def planned(self, plan): ...
    def started(self, name): ...
    def progressed(self, name, progress): ...
    def ended(self, name, status, reason, score, seconds): ...
    def remark(self, line): ...


@pytest.fixture
def settings(make_config, toy_plugin):
    def make(**changed):
        modules = [str(toy_plugin), helpers.stacking_plugin.__file__]
        return make_config(**{"plugins": {"modules": modules}, "executor": "inline", **changed})

    return make


@pytest.fixture
def found(settings):
    return load_plugins(settings().plugins.modules)


@pytest.fixture
def do(settings):
    """Run some settings and return the records, by strategy, task and seed, and the results folder."""

    def run_settings(**changed):
        config = settings(**changed)
        outcome = run(config, load_plugins(config.plugins.modules), Silent())
        records, problems = RecordStore(config.results).load()
        assert problems == []
        by_cell = {(record.strategy.label, record.task.name, record.seed): record for record in records}
        return outcome, by_cell, config.results

    return run_settings


def logits(results, record):
    return Predictions.load(CellFiles(results, record.key).predictions).logits


@pytest.mark.parametrize(
    "text",
    [
        "scale",
        "lora+scale",
        "lora[r=2]+scale[factor=3.0]+seal",
        "finetune[dropout=0.2]+scale",
        "hard-labels[layers=[0,1]]+seal",
    ],
)
def test_a_stack_is_written_as_it_is_read(found, text):
    assert str(spec_of(found.strategy(parse_spec(text)))) == text


def test_a_transform_alone_changes_the_reference(found):
    alone, spelled_out = (found.strategy(parse_spec(text)) for text in ("scale", "finetune+scale"))
    assert [stage.name for stage in alone.stages] == ["finetune", "scale"]
    assert spec_of(alone) == spec_of(spelled_out)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lora+finetune", "'finetune' is not a transform"),
        ("lora+seal+scale", "nothing can follow 'seal'; put it last"),
        ("together+scale", "no transform can follow the joint strategy 'together'"),
        ("lora+scale[rank=2]", "'scale' has no parameter 'rank'"),
        ("lora+", "cannot read strategy ''"),
    ],
)
def test_what_cannot_be_stacked_is_told_in_one_line(found, text, told):
    with pytest.raises(UsageError, match=f"^[^\n]*{told}".replace("[", r"\[").replace(r"^\[^", "^[^")):
        found.strategy(parse_spec(text))


def test_a_stack_serves_what_all_its_stages_serve(found, settings):
    config = settings(strategy=["lora+seal"], task=["toy-*"])
    why = {
        cell.task.name: cell.reason for cell in cells_of(config, found) if str(cell.row.spec) == "lora+seal"
    }
    assert why == {
        "toy-sentiment": None,
        "toy-tags": "serves sequence-classification, not token-classification",
        "toy-score": "serves sequence-classification, not sequence-regression",
    }


def test_an_earlier_stage_is_trained_once_and_its_model_changed(do):
    _, records, results = do(strategy=["hard-labels[layers=2]", "hard-labels[layers=2]+scale[factor=3.0]"])
    plain = records["hard-labels[layers=2]", "toy-sentiment", 0]
    scaled = records["hard-labels[layers=2]+scale[factor=3.0]", "toy-sentiment", 0]
    np.testing.assert_allclose(logits(results, scaled), 3 * logits(results, plain), rtol=1e-5)
    assert scaled.quality.score == plain.quality.score
    assert (scaled.cost.steps, scaled.cost.train_s) == (plain.cost.steps, plain.cost.train_s)
    assert scaled.cost.total_s > plain.cost.total_s
    assert scaled.strategy.name == "hard-labels+scale"
    assert scaled.strategy.params["hard-labels"]["layers"] == 2
    assert scaled.strategy.params["scale"]["factor"] == 3.0
    assert scaled.strategy.note == "Its logits are larger."


def test_an_earlier_stage_that_nobody_asked_for_is_found_by_who_asks_later(do):
    _, records, results = do(strategy=["hard-labels+scale+scale"])
    assert set(records) == {("finetune", "toy-sentiment", 0), ("hard-labels+scale+scale", "toy-sentiment", 0)}
    trained = {path: path.stat().st_mtime_ns for path in (results / "models").glob("*/fit.json")}
    assert len(trained) == 4  # the teacher's row, and a model a stage
    _, records, _ = do(strategy=["hard-labels", "hard-labels+scale"])
    assert {label for label, _, _ in records} >= {"hard-labels", "hard-labels+scale"}
    assert {path: path.stat().st_mtime_ns for path in (results / "models").glob("*/fit.json")} == trained
    np.testing.assert_allclose(
        logits(results, records["hard-labels+scale+scale", "toy-sentiment", 0]),
        4 * logits(results, records["hard-labels", "toy-sentiment", 0]),
        rtol=1e-5,
    )


def test_models_of_further_seeds_stay_until_no_stack_starts_from_them(do):
    _, records, results = do(strategy=["hard-labels", "hard-labels+scale"], seeds=2)
    first, second = (
        logits(results, records[label, "toy-sentiment", 1]) for label in ("hard-labels", "hard-labels+scale")
    )
    np.testing.assert_allclose(second, 2 * first, rtol=1e-5)
    kept = {path.parent.name for path in (results / "models").glob("*/fit.json")}
    assert kept == {record.key for record in records.values() if record.seed == 0}


def test_hidden_states_of_a_teacher_are_stored_while_cells_may_read_them(do, monkeypatch):
    stored = []
    remove = TeacherStore.remove_states

    def watched(store):
        stored.append(sorted(path.suffix for path in store.folder.glob("states-*")))
        remove(store)

    monkeypatch.setattr(TeacherStore, "remove_states", watched)
    long = {"long": {"base": "smoke", "steps": {"sequence-classification": 16}}}
    _, records, results = do(strategy=["pkd[layers=2]"], budgets=long, budget="long")
    assert len(records) == 4  # and the teacher's row and two controls
    assert stored == [[""]]
    assert list((results / "teachers").glob("*/states-*")) == []
    assert len(list((results / "teachers").glob("*/logits-*/seconds.json"))) == 1


def test_a_stack_upon_what_failed_fails_for_its_reason(do):
    outcome, records, _ = do(strategy=["breaks", "breaks+scale"])
    assert outcome.failed == 2
    record = records["breaks+scale", "toy-sentiment", 0]
    assert record.status is Status.FAILED
    assert record.reason.startswith("breaks, which it starts from, failed: ")
    assert "no luck" in record.reason


def test_a_joint_strategy_trains_once_for_all_tasks(do):
    helpers.stacking_plugin.Together.fits = 0
    outcome, records, results = do(strategy=["together"], task=["toy-sentiment", "toy-tags"])
    assert outcome.failed == 0
    found = [records["together", task, 0] for task in ("toy-sentiment", "toy-tags")]
    biases = {
        float(value)
        for record in found
        for value in load_file(CellFiles(results, record.key).artifact / "model.safetensors")[
            "classifier.bias"
        ]
    }
    assert len(biases) == 1  # both models were made by the same fit


def test_a_joint_strategy_s_result_depends_on_who_is_with_it(found, settings, do):
    _, two, _ = do(strategy=["together"], task=["toy-sentiment", "toy-tags"])
    _, three, _ = do(strategy=["together"], task=["toy-*"])
    keys = {records["together", "toy-sentiment", 0].key for records in (two, three)}
    assert (
        len(
            {
                record.key
                for record in RecordStore(settings().results).load()[0]
                if record.strategy.name == "together"
            }
        )
        == 5
    )
    assert len(keys) <= 2


def test_joint_training_needs_two_tasks(found, settings):
    (why,) = {
        cell.reason
        for cell in cells_of(settings(strategy=["together"]), found)
        if cell.row.strategy.name == "together"
    }
    assert why == "trains on two or more tasks together, and the run has no other task that it serves"
