import math
import pickle
import re

import helpers.twin_plugin
import pytest
from datasets import Dataset
from helpers.toytasks import ToyTask, labelled, settings_in
from transformers import AutoTokenizer

from kdbench.api.task import IGNORED, UNLABELLED, TaskKind
from kdbench.budgets import BUDGETS
from kdbench.data import default_cache_dir, load_task, prepare
from kdbench.data.preparing import texts_in_common, without_labels
from kdbench.models.base import fetch_base_model
from kdbench.plugins import load_plugins
from kdbench.results.records import RecordStore
from kdbench.run.cell import CellOrder, score_cell, train_cell
from kdbench.run.plan import make_plan
from kdbench.run.preflight import preflight

BUDGET = BUDGETS["smoke"].model_copy(
    update={"train_examples": 20, "validation_examples": 10, "scored_examples": 8, "max_length": 16}
)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(fetch_base_model(default_cache_dir()))


@pytest.fixture
def prepared(tmp_path, tokenizer):
    def prepared(task, budget=BUDGET):
        settings = settings_in(tmp_path)
        return prepare(load_task(task, settings), budget, tokenizer, settings.cache_dir)

    return prepared


def texts(rows, tokenizer):
    return [tokenizer.decode(ids, skip_special_tokens=True) for ids in rows["input_ids"]]


def test_a_task_is_cut_to_its_budget_and_rows_keep_their_numbers(prepared, tokenizer):
    task = ToyTask({"train": labelled(100), "test": labelled(30, 100)})
    ready = prepared(task)
    assert (ready.train_examples, ready.validation_examples, ready.scored_examples) == (20, 10, 8)
    assert (len(ready.train), len(ready.validation), len(ready.scored), len(ready.unlabelled)) == (
        20,
        10,
        8,
        70,
    )
    for rows, offset in ((ready.train, 0), (ready.validation, 0), (ready.scored, 100), (ready.unlabelled, 0)):
        assert texts(rows, tokenizer) == [f"sentence number {i + offset}" for i in rows["id"]]
    shuffled = ready.train.shuffle(seed=1)
    assert texts(shuffled, tokenizer) == [f"sentence number {i}" for i in shuffled["id"]]
    assert ready.label_counts == {"no": 10, "yes": 10}
    assert (ready.validation_split, ready.source) == ("train", "local toy")


def test_the_rows_left_out_carry_no_labels(prepared):
    left_out = prepared(ToyTask({"train": labelled(100), "test": labelled(4)})).unlabelled
    assert set(left_out["labels"]) == {UNLABELLED}


@pytest.mark.parametrize(
    ("kind", "labels", "hidden"),
    [
        (TaskKind.SEQUENCE_CLASSIFICATION, [0, 1], [UNLABELLED] * 2),
        (
            TaskKind.TOKEN_CLASSIFICATION,
            [[IGNORED, 3, IGNORED], [0]],
            [[IGNORED, UNLABELLED, IGNORED], [UNLABELLED]],
        ),
    ],
)
def test_hidden_labels_keep_their_places(kind, labels, hidden):
    assert without_labels(Dataset.from_dict({"id": [0, 1], "labels": labels}), kind)["labels"][:] == hidden


def test_a_hidden_number_is_none():
    assert all(
        math.isnan(number)
        for number in without_labels(
            Dataset.from_dict({"id": [0], "labels": [0.5]}), TaskKind.SEQUENCE_REGRESSION
        )["labels"]
    )


def test_the_second_time_gives_the_same_rows_without_encoding(prepared, tmp_path):
    task = ToyTask({"train": labelled(100), "test": labelled(30, 100)})
    first = prepared(task)
    folders = [path for path in (tmp_path / "cache" / "encoded").iterdir() if path.is_dir()]
    files = [folder / name for folder in folders for name in ("train.arrow", "test.arrow", "scored.arrow")]
    files = [file for file in files if file.exists()]
    written = [path.stat().st_mtime_ns for path in files]
    second = prepared(task)
    assert second.train[:] == first.train[:]
    assert second.noisy[:] == first.noisy[:]
    assert len(files) == 3  # train and test as they are, and what is scored with errors
    assert [path.stat().st_mtime_ns for path in files] == written


def test_every_row_of_a_chosen_sentence_comes_along(prepared):
    rows = [{"words": ["Anna"] * 40, "tags": ["B-PER"] + ["O"] * 39} for _ in range(30)]
    ready = prepared(
        ToyTask({"train": rows, "test": rows}, TaskKind.TOKEN_CLASSIFICATION, ("O", "B-PER", "I-PER"))
    )
    # 14 words fit beside the two special pieces, so 40 make three rows.
    assert (ready.scored_examples, len(ready.scored)) == (8, 24)
    assert ready.too_long_share == 1
    assert ready.label_counts == {"O": 39 * 20, "B-PER": 20, "I-PER": 0}
    assert ready.duplicates == 30


def test_shares_are_of_all_examples_and_pieces(prepared):
    train = [*labelled(90), *[{"text": "long " * 50, "label": "no"}] * 10]
    ready = prepared(ToyTask({"train": train, "test": [{"text": "𒀀", "label": "no"}] * 100}))
    assert ready.too_long_share == 10 / 200
    pieces = 90 * 5 + 10 * 16 + 100 * 3
    assert ready.unknown_share == pytest.approx(100 / pieces)


def test_regression_has_no_label_counts(prepared):
    rows = [{"text": f"number {i}", "label": i / 10} for i in range(60)]
    ready = prepared(ToyTask({"train": rows, "test": rows[:8]}, TaskKind.SEQUENCE_REGRESSION, ()))
    assert ready.label_counts == {}
    assert ready.scored["labels"][:] == [i / 10 for i in range(8)]


def test_a_prepared_task_travels_to_another_process(prepared):
    ready = prepared(ToyTask({"train": labelled(100), "test": labelled(30, 100)}))
    assert pickle.loads(pickle.dumps(ready)).train[:] == ready.train[:]


# What a joint strategy learns on one task of another's scored examples is counted and told.


def test_examples_are_counted_once_and_only_where_all_word_pieces_are_the_same():
    scored = Dataset.from_dict(
        {"example": [0, 1, 1, 2, 3], "input_ids": [[1, 5, 2], [1, 6, 2], [1, 7, 2], [1, 8, 2], [1, 5]]}
    )
    train = Dataset.from_dict({"input_ids": [[1, 7, 2], [1, 6, 2], [1, 5, 2], [1, 5, 2], [9]]})
    assert texts_in_common(scored, train) == 2


def test_a_joint_row_says_how_many_of_its_scored_texts_it_was_trained_on(make_config, toy_plugin):
    config = make_config(
        task=["toy-sentiment", "toy-twin"],
        strategy=["multi-task"],
        plugins={"modules": [str(toy_plugin), helpers.twin_plugin.__file__]},
    )
    registry = load_plugins(config.plugins.modules)
    plan = make_plan(config, registry, fetch=True)
    prepared = {name: experiment.task for name, experiment in plan.experiments.items()}
    trained_on = {tuple(pieces) for pieces in prepared["toy-twin"].train["input_ids"]}
    repeated = sum(tuple(pieces) in trained_on for pieces in prepared["toy-sentiment"].scored["input_ids"])
    assert repeated > 0
    told = f"{repeated} of {prepared['toy-sentiment'].scored_examples} scored examples are in the training data of toy-twin"
    lines = preflight(plan)
    assert f"! {told}: a joint strategy is trained on them" in lines["toy-sentiment"]
    assert not re.search("training data of", " ".join(lines["toy-twin"]))

    cells = {cell.task.name: cell for cell in plan.cells if cell.row.strategy.name == "multi-task"}
    for task, cell in cells.items():  # the first trains for both
        order = CellOrder(
            config=config,
            spec=cell.row.spec,
            task=task,
            seed=0,
            key=cell.key,
            partners=list(cells),
        ).model_dump_json()
        train_cell(order, lambda *told: None)
        score_cell(order, lambda *told: None)
    records, _ = RecordStore(config.results).load()
    found = {record.task.name: record.warnings for record in records}
    assert told in found["toy-sentiment"]
    assert not any("training data of" in line for line in found["toy-twin"])


def test_without_a_joint_strategy_nothing_is_said(make_config, toy_plugin):
    config = make_config(
        task=["toy-sentiment", "toy-twin"],
        strategy=["hard-labels"],
        plugins={"modules": [str(toy_plugin), helpers.twin_plugin.__file__]},
    )
    plan = make_plan(config, load_plugins(config.plugins.modules), fetch=True)
    assert not re.search("training data of", str(preflight(plan)))
