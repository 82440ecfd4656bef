import re

import pytest

from kdbench.api.task import TaskKind
from kdbench.budgets import BUDGETS, BackEnd, Budget, custom_budget, with_label_count

SENTENCES, TOKENS = TaskKind.SEQUENCE_CLASSIFICATION, TaskKind.TOKEN_CLASSIFICATION


@pytest.mark.parametrize(
    ("kind", "examples", "steps"),
    [
        (SENTENCES, 2000, 200),  # 1,600 examples: not yet one pass
        (SENTENCES, 80, 60),  # six passes of 10 steps
        (SENTENCES, 81, 61),  # 6 * 81 / 8 = 60.75
        (TOKENS, 1615, 320),
    ],
)
def test_a_small_task_is_not_gone_over_more_often_than_the_budget_allows(kind, examples, steps):
    assert BUDGETS["quick"].steps_for(kind, examples) == steps


def test_without_a_limit_the_steps_are_those_of_the_kind():
    assert BUDGETS["smoke"].steps_for(SENTENCES, 10) == 6


@pytest.mark.parametrize(("examples", "steps"), [(10, 2), (67_349, 10_524)])
def test_without_steps_the_passes_decide(examples, steps):
    assert BUDGETS["full"].steps_for(TOKENS, examples) == steps  # 5 * examples / 32


def test_five_passes_over_ten_thousand_examples_are_the_standard():
    assert BUDGETS["standard"].steps_for(SENTENCES, 10_000) == 1563
    assert BUDGETS["standard"].steps_for(SENTENCES, 1000) == 625  # 20 passes


def test_a_budget_limits_its_steps():
    with pytest.raises(ValueError, match="must set steps or max_epochs"):
        Budget(name="endless", validation_examples=8, batch_size={SENTENCES: 8})


OTHERWISE_TIMED = {
    "latency_processes": 9,
    "latency_rounds": 999,
    "latency_seconds": 9.0,
    "latency_back_ends": tuple(BackEnd),
    "latency_grid": (BackEnd.ONNXRUNTIME,),
    "latency_grid_rounds": 99,
    "latency_grid_seconds": 999.0,
    "latency_batch_rounds": 9,
}


@pytest.mark.parametrize("name", list(OTHERWISE_TIMED))
def test_how_models_are_timed_is_no_part_of_what_their_quality_follows_from(name):
    budget = BUDGETS["quick"]
    other = budget.model_copy(update={name: OTHERWISE_TIMED[name]})
    assert other.identity() == budget.identity()
    changed = {
        field
        for field, value in other.latency_settings().items()
        if budget.latency_settings()[field] != value
    }
    assert changed == {name}


def test_settings_of_a_budget_are_of_its_models_or_of_their_timing():
    budget = BUDGETS["full"].model_copy(update={"window_stride": 8})
    identity, settings = set(budget.identity()), set(budget.latency_settings())
    assert settings == set(OTHERWISE_TIMED)
    assert identity | settings | {"seeds", "serving_processes"} == set(type(budget).model_fields)
    assert not identity & settings


def test_a_label_count_changes_the_labels_and_not_the_steps():
    budget = BUDGETS["quick"]
    few = budget.at_labels(16)
    assert (few.name, few.labels, few.train_examples) == ("quick@16", 16, 16)
    assert few.steps_for(SENTENCES, 16) == budget.steps_for(SENTENCES, 2000) == budget.steps[SENTENCES]
    changed = {name for name in Budget.model_fields if getattr(few, name) != getattr(budget, name)}
    assert changed == {"name", "train_examples", "max_epochs"}
    assert few.identity() != budget.at_labels(17).identity()
    assert budget.labels is None


def test_a_budget_is_found_with_and_without_a_label_count():
    assert with_label_count("quick", BUDGETS) is BUDGETS["quick"]
    assert with_label_count("quick@16", BUDGETS) == BUDGETS["quick"].at_labels(16)
    whole = BUDGETS["quick"].model_copy(update={"train_examples": None})
    assert with_label_count("quick@4096", {"quick": whole}).train_examples == 4096


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("quik@16", "unknown budget 'quik@16' (did you mean 'quick'?)"),
        ("quick@0", "unknown budget 'quick@0'"),
        ("quick@many", "unknown budget 'quick@many'"),
        ("full@16", "budget 'full' limits training by max_epochs alone"),
        ("quick@7", "7 labels are too few; name a count of at least 8"),
        (
            "quick@2000",
            "budget 'quick' has 2,000 labelled training examples; name a smaller count than 2,000, or all",
        ),
    ],
)
def test_an_impossible_label_count_is_refused(name, told):
    with pytest.raises(ValueError, match=f"^{re.escape(told)}"):
        with_label_count(name, BUDGETS)


def test_windows_are_part_of_a_budgets_identity_only_where_they_are_set():
    assert not {"window_stride", "window_pooling"} & BUDGETS["quick"].identity().keys()
    windows = custom_budget("mine", {"base": "quick", "window_stride": 8})
    assert windows.identity()["window_stride"] == 8
    assert windows.identity()["window_pooling"] == "mean"
    with pytest.raises(ValueError, match="at most half its max_length, 24"):
        custom_budget("mine", {"base": "quick", "window_stride": 25})
