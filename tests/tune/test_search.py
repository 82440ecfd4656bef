"""A real search on toy tasks, and the tuned rows of a board."""

import io

import helpers.failing_plugin
import helpers.poisoned_plugin
import pandas as pd
import pytest
from helpers.small_run import Nobody
from rich.console import Console

from kdbench.config import RunConfig
from kdbench.errors import UsageError
from kdbench.export.choose import choose
from kdbench.plugins import load_plugins
from kdbench.results.records import RecordStore
from kdbench.results.tuning import StudyStore
from kdbench.run.plan import make_plan
from kdbench.run.progress import Terminal
from kdbench.run.runner import run

pytest.importorskip("optuna")
pytestmark = pytest.mark.slow

from kdbench.tune.search import search  # noqa: E402
from kdbench.tune.studies import plan_searches  # noqa: E402


def searched(config, trials=2, repeats=1):
    """Search in this process; return the outcome and what it printed."""
    text = io.StringIO()
    registry = load_plugins(config.plugins.modules)
    with Terminal(Console(file=text, width=200)) as terminal:
        outcome = search(config, registry, terminal, trials=trials, repeats=repeats)
    return outcome, text.getvalue()


def results_of(config):
    """Return the trials by strategy and tasks."""
    return {one.study.label: one.trials for one in StudyStore(config.results).load()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_model, toy_plugin, cache_dir):
    """Settings of a search of LoRA and one that fails, which has been made with two trials of each."""
    folder = tmp_path_factory.mktemp("searched")
    config = RunConfig.model_validate(
        {
            "task": ["toy-sentiment"],
            "strategy": ["lora", "raises"],
            "budget": "smoke",
            "model": str(tiny_model),
            "results": folder / "results",
            "board": folder / "board",
            "cache_dir": cache_dir,
            "drawings": False,
            "executor": "inline",
            "plugins": {"modules": [str(toy_plugin), helpers.failing_plugin.__file__]},
        }
    )
    return config, *searched(config)


def test_every_strategy_and_control_has_as_many_trials_the_first_with_the_defaults(folder):
    trials = results_of(folder[0])
    assert set(trials) == {
        f"{name} on toy-sentiment" for name in ("lora", "finetune[steps=budget]", "raises")
    }
    for of_study in trials.values():
        assert [trial.number for trial in of_study] == [1, 2]
        assert of_study[0].params == {}
        assert of_study[1].params.keys() == {"learning_rate"}


def test_a_trial_that_fails_is_a_trial_with_its_reason_and_the_search_goes_on(folder):
    config, outcome, printed = folder
    failed = results_of(config)["raises on toy-sentiment"]
    assert [trial.score for trial in failed] == [None, None]
    assert failed[0].reason == "ValueError: no luck <b>at all</b> | here"
    assert len(outcome.failures) == 2
    assert outcome.unequal == []
    assert "6/6" in printed
    assert "failed raises on toy-sentiment, trial 1 (defaults): ValueError: no luck" in printed
    assert "added finetune[steps=budget]: the control of lora" in printed


def test_trials_are_scored_on_unseen_examples_with_seeds_that_no_board_has(folder):
    config, _, printed = folder
    study = StudyStore(config.results).load()[0].study
    assert study.seeds == (1_000_000,)
    assert max(range(100)) < study.seeds[0]  # a board has at most 100 seeds, from 0
    # 240 toy examples, of which the budget trains on 64 and validates on 16.
    assert (study.validation_examples, study.is_unseen) == (160, True)
    assert "scored on 160 validation examples, 1 repeat (seeds from 1000000)" in printed


def test_more_trials_are_added_to_those_there_and_a_lost_one_is_made_again(folder, caplog):
    config, *_ = folder
    before = results_of(config)
    store = StudyStore(config.results)
    key = before["lora on toy-sentiment"][0].study
    description, trial = store.folder(key) / "study.json", store.folder(key) / "trials" / "0001.json"
    written = description.read_bytes()
    for path in (description, trial):
        path.write_bytes(path.read_bytes()[:50])
    outcome, printed = searched(config.model_copy(update={"strategy": ["lora"]}), trials=3, repeats=None)
    after = results_of(config)
    assert "3/3" in printed  # the lost one, and a third of each
    assert description.read_bytes() == written
    assert [
        sum(line.startswith(f"skipped {path}: ") for line in caplog.messages) for path in (description, trial)
    ] == [1, 1]
    assert (
        after["finetune[steps=budget] on toy-sentiment"][:2]
        == before["finetune[steps=budget] on toy-sentiment"]
    )
    again, original = after["lora on toy-sentiment"], before["lora on toy-sentiment"]
    assert [trial.number for trial in again] == [1, 2, 3]
    assert again[0].params == original[0].params
    assert again[0].score == original[0].score
    assert again[1] == original[1]
    assert outcome.unequal == []


def test_unequal_numbers_of_trials_are_told(folder):
    outcome, _ = searched(folder[0], trials=1)
    assert outcome.unequal == [
        "toy-sentiment: the strategies have 2 x 1 or 3 x 1 trials x repeats, not all the same"
    ]


def test_failed_trials_are_tried_again_on_request_only(folder, monkeypatch):
    config = folder[0].model_copy(update={"strategy": ["raises"]})
    assert "trial 1" not in searched(config)[1]
    assert results_of(config)["raises on toy-sentiment"][0].score is None
    monkeypatch.setenv("STRATEGIES_ARE_MENDED", "1")
    searched(config.model_copy(update={"overwrite": "failed"}))
    assert None not in [trial.score for trial in results_of(config)["raises on toy-sentiment"]]


def test_another_number_of_repeats_is_not_mixed_in(folder):
    with pytest.raises(UsageError, match="the trials so far have 1 repeats"):
        searched(folder[0].model_copy(update={"strategy": ["lora"]}), repeats=2)


def test_labels_of_the_scored_split_make_no_difference(folder, tmp_path, monkeypatch):
    found = {}
    for wrong in (False, True):
        if wrong:
            monkeypatch.setenv("SCORED_LABELS_ARE_WRONG", "1")
        config = folder[0].model_copy(
            update={
                "task": ["poisoned"],
                "strategy": ["hard-labels[layers=1,init=base]"],
                "results": tmp_path / str(wrong),
                "plugins": folder[0].plugins.model_copy(
                    update={"modules": [helpers.poisoned_plugin.__file__]}
                ),
            }
        )
        searched(config)
        (result,) = StudyStore(config.results).load()
        found[wrong] = [(trial.params, trial.scores) for trial in result.trials], result.study.key
    assert found[False][0] == found[True][0]
    assert found[False][1] != found[True][1]  # the data did differ


def test_a_joint_strategy_is_scored_by_the_mean_over_its_tasks(folder, tmp_path):
    config = folder[0].model_copy(
        update={"task": ["toy-sentiment", "toy-tags"], "strategy": ["multi-task"], "results": tmp_path}
    )
    searched(config, trials=1, repeats=2)
    ((label, (trial,)),) = results_of(config).items()
    assert label == "multi-task on toy-sentiment+toy-tags"
    scores = [score for task in ("toy-sentiment", "toy-tags") for score in trial.scores[task]]
    assert len(scores) == 4
    assert trial.score == pytest.approx(sum(scores) / 4)


def test_of_a_stack_the_stages_that_are_to_be_tuned_are_searched(folder):
    config = folder[0].model_copy(update={"strategy": ["lora[tuned]+int8", "dora+int8"]})
    plan = plan_searches(config, load_plugins(config.plugins.modules), None)
    assert [search.study.label for search in plan.searches] == ["lora on toy-sentiment"]
    assert plan.remarks == ["dora+int8: a stack is searched stage by stage; mark those to tune"]


def test_a_tuned_row_that_was_not_searched_names_the_command(folder):
    config = folder[0].model_copy(update={"strategy": ["dora[tuned]", "vanilla-kd[tuned]"]})
    with pytest.raises(UsageError) as caught:
        make_plan(config, load_plugins(config.plugins.modules), fetch=True)
    told = str(caught.value)
    assert told.endswith(
        "kdbench tune --budget smoke --strategy hard-labels --strategy 'hard-labels[init=base]' --strategy vanilla-kd "
        "--strategy dora --task toy-sentiment"
    )
    with pytest.raises(UsageError, match="there is nothing to tune"):
        make_plan(
            config.model_copy(update={"strategy": ["int8[tuned]"]}),
            load_plugins(config.plugins.modules),
            fetch=True,
        )


@pytest.fixture(scope="module")
def board(folder):
    """The folder of a board with tuned rows, and the settings of its run."""
    config = folder[0].model_copy(update={"strategy": ["lora", "lora[tuned]"]})
    outcome = run(config, load_plugins(config.plugins.modules), Nobody())
    assert outcome.failed == 0
    return config, {record.strategy.label: record for record in RecordStore(config.results).load()[0]}


def test_a_tuned_row_stands_beside_the_default_one_with_its_cost(board):
    config, records = board
    result = next(one for one in StudyStore(config.results).load() if one.study.strategy == "lora")
    (tuning,) = records["lora[tuned]"].tuning
    assert (tuning.trials, tuning.params) == (len(result.trials), result.best.params)
    assert tuning.tuning_s == pytest.approx(sum(trial.seconds for trial in result.trials))
    used = records["lora[tuned]"].strategy.params
    assert {name: used[name] for name in tuning.params} == tuning.params
    assert records["lora[tuned]"].strategy.control == "finetune[steps=budget,tuned]"
    rows = pd.read_csv(config.board / "toy-sentiment.csv").set_index("strategy")
    assert rows["tuning_trials"]["lora[tuned]"] == len(result.trials)
    assert rows["tuning_s"]["lora[tuned]"] == pytest.approx(tuning.tuning_s)
    assert rows["tuning_trials"].isna()["lora"]
    page = (config.board / "toy-sentiment.md").read_text(encoding="utf-8")
    assert "**lora[tuned].** Tuned: " in page
    assert "| tuning | tuning trials |" in page


def test_a_stack_starts_from_the_tuned_cell(board):
    config, records = board
    stacked = config.model_copy(update={"strategy": ["lora[tuned]+trim-vocab"]})
    plan = make_plan(stacked, load_plugins(config.plugins.modules), fetch=True)
    (cell,) = [cell for cell in plan.cells if cell.row.spec.then]
    assert cell.label == "lora[tuned]+trim-vocab on toy-sentiment, seed 0"
    assert cell.keys_before == (records["lora[tuned]"].key,)
    assert cell.tuning == records["lora[tuned]"].tuning


def test_tuned_rows_are_verified_compared_and_chosen_by_their_name(board, call, monkeypatch, cache_dir):
    config, records = board
    monkeypatch.setenv("KDBENCH_CACHE", str(cache_dir))
    plugins = [word for module in config.plugins.modules for word in ("--plugin", module)]
    code, printed, errors = call("verify", config.results, *plugins)
    assert (code, errors) == (0, ""), printed
    settings = ["--results", config.results, "--budget", "smoke", *plugins]
    code, printed, errors = call("compare", "lora[tuned]", "lora", *settings, "--examples", "0")
    assert code == 0, errors
    named = {"model": None, "task": ["toy-sentiment"], "strategy": ["lora[tuned]"]}
    chosen = choose(config.model_copy(update=named), load_plugins(config.plugins.modules), None, None)
    assert chosen.record == records["lora[tuned]"]
