import math
import pickle
import re

import helpers.twin_plugin
import numpy as np
import pytest
from datasets import Dataset
from helpers.toytasks import ToyTask, labelled, settings_in
from transformers import AutoTokenizer

from kdbench.api.predictions import Predictions
from kdbench.api.task import IGNORED, UNLABELLED, TaskKind
from kdbench.budgets import BUDGETS
from kdbench.config import EMBEDDED_NAME
from kdbench.data import default_cache_dir, load_task, prepare
from kdbench.data.preparing import examples_in_common, without_labels
from kdbench.models.embedded import EMBEDDED
from kdbench.plugins import load_plugins
from kdbench.results.records import RecordStore
from kdbench.run.cell import CellOrder, score_cell, train_cell, with_groups
from kdbench.run.plan import make_plan
from kdbench.run.preflight import preflight
from kdbench.training.multi_task import joint_benches

BUDGET = BUDGETS["smoke"].model_copy(
    update={"train_examples": 20, "validation_examples": 10, "scored_examples": 8, "max_length": 16}
)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(EMBEDDED[EMBEDDED_NAME].fetch(default_cache_dir()))


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


def test_scored_examples_keep_their_groups_in_whatever_order_they_are_answered(prepared):
    train, rows = (
        [{**row, "group": f"film {i // 4}"} for i, row in enumerate(labelled(count, start))]
        for count, start in ((100, 0), (30, 100))
    )
    ready = prepared(ToyTask({"train": train, "test": rows}))
    ids = np.unique(ready.scored["example"][:])
    assert (ready.scored_groups == ids // 4).all()
    backwards = Predictions(ids[::-1].copy(), np.ones((8, 2), dtype=np.float32), np.ones(8, dtype=np.int64))
    assert (with_groups(backwards, ready).groups == ids[::-1] // 4).all()
    ungrouped = prepared(ToyTask({"train": labelled(100), "test": labelled(30, 100)}))
    assert with_groups(backwards, ungrouped).groups is None


# A joint strategy does not learn on one task what another scores.


def test_an_example_is_left_out_where_one_of_its_rows_has_the_same_word_pieces_as_a_scored_row():
    train = Dataset.from_dict(
        {"example": [0, 1, 1, 2, 3], "input_ids": [[1, 5, 2], [1, 6, 2], [1, 7, 2], [1, 8, 2], [1, 5]]}
    )
    scored = Dataset.from_dict({"input_ids": [[1, 7, 2], [1, 6, 2], [1, 5, 2], [1, 5, 2], [9]]})
    assert examples_in_common(train, scored) == {0, 1}


def test_a_joint_row_is_trained_without_what_its_other_tasks_score_and_its_teacher_with_it(
    make_config, toy_plugin
):
    config = make_config(
        task=["toy-sentiment", "toy-twin"],
        strategy=["multi-task"],
        plugins={"modules": [str(toy_plugin), helpers.twin_plugin.__file__]},
    )
    registry = load_plugins(config.plugins.modules)
    plan = make_plan(config, registry, fetch=True)
    scored, train = plan.experiments["toy-sentiment"].task.scored, plan.experiments["toy-twin"].task.train
    texts = {tuple(pieces) for pieces in scored["input_ids"]}
    repeated = sum(tuple(pieces) in texts for pieces in train["input_ids"])
    assert 0 < repeated < len(train)
    told = f"trained without {repeated} of the {len(train)} training examples of toy-twin, which toy-sentiment scores"
    lines = preflight(plan)
    assert f"! a joint strategy is {told}" in lines["toy-twin"]
    assert "trained without" not in " ".join(lines["toy-sentiment"])

    cells = {cell.task.name: cell for cell in plan.cells if cell.row.strategy.name == "multi-task"}
    strategy = cells["toy-twin"].row.strategy
    benches, _ = joint_benches(plan.experiments, strategy, 0, lambda *told: None)
    assert not texts & {tuple(pieces) for pieces in benches["toy-twin"].task.train["input_ids"]}
    assert benches["toy-twin"].task.train_examples == len(train) - repeated
    assert benches["toy-twin"].experiment.task.train is train  # which the teacher is trained on
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
    assert all(told in record.warnings for record in records)


def test_without_a_joint_strategy_nothing_is_said(make_config, toy_plugin):
    config = make_config(
        task=["toy-sentiment", "toy-twin"],
        strategy=["hard-labels"],
        plugins={"modules": [str(toy_plugin), helpers.twin_plugin.__file__]},
    )
    plan = make_plan(config, load_plugins(config.plugins.modules), fetch=True)
    assert not re.search("trained without", str(preflight(plan)))
