"""A kind of task that one plugin file brings runs through the whole harness."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.small_run import Nobody

import kdbench
from kdbench.api.predictions import Predictions
from kdbench.config import RunConfig
from kdbench.errors import UsageError
from kdbench.plugins import load_plugins
from kdbench.results.records import RecordStore
from kdbench.run.runner import run

PLUGIN = Path(__file__).parents[2] / "examples" / "ordinal.py"
LABELS = ("one", "two", "three", "four")


@pytest.fixture(scope="module")
def ran(tmp_path_factory, tiny_model, cache_dir):
    """The settings of a run of the task with the teacher's row, labels alone and distillation."""
    folder = tmp_path_factory.mktemp("ordinal")
    config = RunConfig.model_validate(
        {
            "task": ["stars"],
            "strategy": ["finetune[learning_rate=0.003]", "vanilla-kd[layers=2]"],
            "drawings": False,
            "budget": "tiny",
            "budgets": {
                "tiny": {
                    "base": "smoke",
                    "steps": {"ordinal": 120},
                    "train_examples": 128,
                    "max_length": 32,
                }
            },
            "model": str(tiny_model),
            "results": folder / "results",
            "board": folder / "board",
            "cache_dir": cache_dir,
            "plugins": {"modules": [str(PLUGIN)]},
        }
    )
    outcome = run(config, load_plugins(config.plugins.modules), Nobody())
    assert outcome.failed == 0
    return config


@pytest.fixture(scope="module")
def records(ran):
    records, unreadable = RecordStore(ran.results).load()
    assert unreadable == []
    return {record.strategy.label: record for record in records}


@pytest.fixture(scope="module")
def kind():
    return load_plugins([str(PLUGIN)]).kind("ordinal")


@pytest.fixture
def budget(tmp_path):
    """A config file with the run's budget, for commands on its results."""
    file = tmp_path / "kdbench.toml"
    file.write_text(
        '[budgets.tiny]\nbase = "smoke"\ntrain_examples = 128\nmax_length = 32\n'
        "[budgets.tiny.steps]\nordinal = 120\n",
        encoding="utf-8",
    )
    return file


@pytest.mark.slow
def test_its_cells_run_in_processes_of_their_own_and_have_records(records):
    assert set(records) == {
        "finetune",
        "finetune[learning_rate=0.003]",
        "hard-labels[layers=2]",
        "hard-labels[init=base,layers=2]",
        "vanilla-kd[layers=2]",
    }
    assert {(record.task.kind, record.task.metric, record.status.value) for record in records.values()} == {
        ("ordinal", "closeness", "ok")
    }
    assert {record.cost.steps for label, record in records.items() if "layers" in label} == {120}


@pytest.mark.slow
def test_the_score_is_how_close_the_classes_are(ran, records):
    record = records["finetune[learning_rate=0.003]"]
    answers = Predictions.load(ran.results / "predictions" / f"{record.key}.safetensors")
    assert answers.logits.shape == (64, 3)
    distances = np.abs((answers.logits > 0).sum(axis=1) - answers.references)
    assert record.quality.score == pytest.approx(1 - distances.mean() / 3)
    assert record.quality.low <= record.quality.score <= record.quality.high
    assert record.quality.score > record.task.majority_score


@pytest.mark.slow
def test_the_board_shows_its_rows_with_intervals(ran):
    rows = pd.read_csv(ran.board / "stars.csv")
    assert set(rows["metric"]) == {"closeness"}
    assert rows["score"].notna().all()
    assert (ran.board / "stars.md").is_file()


@pytest.mark.slow
def test_a_second_run_finds_every_cell_done(ran):
    from kdbench.run.plan import State, make_plan

    plan = make_plan(ran, load_plugins(ran.plugins.modules), fetch=False)
    assert {planned.state for planned in plan.cells} == {State.DONE}


@pytest.mark.slow
def test_a_board_without_the_plugin_shows_the_stored_scores_and_says_what_is_missing(
    call, ran, budget, tmp_path
):
    code, _, _ = call(
        *("board", "--config", budget, "--budget", "tiny", "--results", ran.results),
        *("--board", tmp_path / "board", "--no-drawings"),
    )
    assert code == 0
    assert (
        "no installed plugin provides the metric 'closeness'" in (tmp_path / "board" / "stars.md").read_text()
    )
    assert pd.read_csv(tmp_path / "board" / "stars.csv")["score"].notna().all()


@pytest.mark.slow
def test_verify_recomputes_its_scores_with_the_plugin_and_says_what_it_leaves_without(call, ran):
    code, out, _ = call("verify", ran.results, "--plugin", PLUGIN)
    assert code == 0, out
    assert "ordinal" not in out
    code, out, _ = call("verify", ran.results)
    assert code == 0, out
    assert "no installed plugin provides the metric 'closeness'" in out
    assert "no installed plugin provides the kind of task 'ordinal'" in out


@pytest.mark.slow
@pytest.mark.parametrize("form", ["hf", "onnx"])
def test_an_exported_model_answers_with_labels(call, ran, budget, tmp_path, form):
    folder = tmp_path / form
    code, out, err = call(
        *("export", "--config", budget, "--results", ran.results, "--budget", "tiny", "--task", "stars"),
        *("--strategy", "finetune[learning_rate=0.003]", "--model", ran.model, "--plugin", PLUGIN),
        *("--format", form, "--out", folder),
    )
    assert code == 0, err
    with pytest.raises(UsageError, match="kind 'ordinal', which no installed plugin provides"):
        kdbench.load(folder)
    text = "a great film with cats"
    (answer,) = kdbench.load(folder, plugins=[str(PLUGIN)]).predict([text])
    assert list(answer.above) == list(LABELS[:3])
    assert answer.label == LABELS[sum(probability > 0.5 for probability in answer.above.values())]
    code, out, err = call("predict", folder, text, "--plugin", PLUGIN)
    assert code == 0, err
    assert answer.label in out


def test_its_losses_are_the_formulas(kind):
    logits = torch.tensor([[0.0, 2.0], [1.0, -1.0]])
    labels = torch.tensor([1, kind.hide_label(2)])
    expected = (
        np.log(2) + np.log1p(np.exp(2.0))
    ) / 2  # above the first and not above the second; the other is hidden
    assert kind.label_loss(logits, labels).item() == pytest.approx(expected)
    assert kind.soft_target_loss(logits, logits, labels, temperature=3.0).item() == pytest.approx(0, abs=1e-6)
    assert kind.soft_target_loss(logits, -logits, labels, temperature=1.0).item() > 0.1


def test_a_label_that_is_not_the_tasks_is_refused(kind):
    assert kind.label_problem("two", LABELS) is None
    assert "none of the task's" in kind.label_problem("five", LABELS)
