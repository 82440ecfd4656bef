"""What a joint strategy learns on one task of another's scored examples is counted and told."""

import re

import helpers.twin_plugin
from datasets import Dataset

from kdbench.data.preparing import texts_in_common
from kdbench.plugins import load_plugins
from kdbench.results.records import RecordStore
from kdbench.run.cell import CellOrder, score_cell, train_cell
from kdbench.run.plan import make_plan
from kdbench.run.preflight import preflight


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

    cells = {
        planned.cell.task.name: planned
        for planned in plan.cells
        if planned.cell.row.strategy.name == "multi-task"
    }
    for task, planned in cells.items():  # the first trains for both
        order = CellOrder(
            config=config,
            spec=planned.cell.row.spec,
            task=task,
            seed=0,
            key=planned.key,
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
