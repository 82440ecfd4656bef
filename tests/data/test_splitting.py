from collections import Counter

import numpy as np
import pytest
from helpers.toytasks import ToyTask, labelled, settings_in
from hypothesis import given
from hypothesis import strategies as st

from kdbench.api.task import TaskKind
from kdbench.budgets import BUDGETS
from kdbench.data import load_task, splitting
from kdbench.data.splitting import (
    choose,
    choose_for_tuning,
    each_stratum_last,
    factorize,
    hold_out,
    stratified_order,
)
from kdbench.errors import UsageError


def budget(**changes):
    return BUDGETS["smoke"].model_copy(update={"train_examples": None, "scored_examples": None, **changes})


@pytest.fixture
def load(tmp_path):
    def load(eval_split="test", task=None, **splits):
        return load_task(task or ToyTask(splits, eval_split=eval_split), settings_in(tmp_path))

    return load


@given(st.lists(st.integers(0, 3), min_size=1, max_size=200))
def test_every_prefix_and_suffix_of_the_order_holds_each_stratum_in_its_share(strata):
    strata = np.array(strata)
    order = stratified_order(strata)
    assert sorted(order) == list(range(len(strata)))
    for ordered in (strata[order], strata[order][::-1]):
        for value, size in zip(*np.unique(strata, return_counts=True), strict=True):
            found = np.cumsum(ordered == value)
            expected = np.arange(1, len(strata) + 1) * size / len(strata)
            # Each of the up to four strata is rounded, so a prefix is off by no more than their number.
            assert np.abs(found - expected).max() < 4


def test_the_members_of_a_stratum_are_drawn_at_random():
    drawn = stratified_order(np.zeros(1000, dtype=np.int64))[:500]
    assert 200 < np.sum(drawn < 500) < 300


def test_strata_are_labels_deciles_and_first_entities():
    labels = TaskKind.SEQUENCE_CLASSIFICATION.strata(["a", "b", "a"])
    assert labels.tolist() == [0, 1, 0]
    deciles = TaskKind.SEQUENCE_REGRESSION.strata(np.linspace(0, 5, 100))
    assert np.bincount(deciles).tolist() == [10] * 10
    tags = [["O", "B-PER"], ["O"], ["B-LOC", "B-PER"], ["B-PER", "I-PER"]]
    assert TaskKind.TOKEN_CLASSIFICATION.strata(tags).tolist() == [0, 1, 2, 0]


def test_equal_numbers_do_not_break_the_deciles():
    assert set(TaskKind.SEQUENCE_REGRESSION.strata([0.0] * 50).tolist()) == {0}


def test_validation_comes_out_of_train_and_shares_no_example_with_it(load):
    choice = choose(load(train=labelled(100), test=labelled(20, 100)), budget(validation_examples=10))
    assert choice.validation_split == "train"
    assert len(choice.validation) == 10
    assert sorted([*choice.validation, *choice.train]) == list(range(100))
    assert sum(choice.validation % 2) == 5
    assert choice.scored.tolist() == list(range(20))


def test_validation_takes_at_most_a_fifth_of_train(load):
    choice = choose(load(train=labelled(42), test=labelled(2)), budget(validation_examples=1000))
    assert (len(choice.validation), len(choice.train)) == (8, 34)


def test_a_validation_split_of_the_datas_own_is_used_and_train_stays_whole(load):
    data = load(train=labelled(40), validation=labelled(30, 40), test=labelled(8, 70))
    choice = choose(data, budget(validation_examples=20))
    assert (choice.validation_split, len(choice.validation), len(choice.train)) == ("validation", 20, 40)


def test_a_validation_split_that_is_scored_tunes_nothing(load):
    data = load("validation", train=labelled(40), validation=labelled(10, 40))
    choice = choose(data, budget(validation_examples=4))
    assert (choice.validation_split, len(choice.scored)) == ("train", 10)
    assert not set(choice.validation) & set(choice.train)


def test_smaller_budgets_draw_from_the_examples_of_larger_ones(load):
    data = load(train=labelled(1000), test=labelled(400, 1000))
    small = choose(data, budget(train_examples=50, validation_examples=10, scored_examples=30))
    large = choose(data, budget(train_examples=200, validation_examples=100, scored_examples=200))
    assert set(small.train) < set(large.train)
    assert set(small.validation) < set(large.validation)
    assert set(small.scored) < set(large.scored)
    assert (len(small.train), len(small.unlabelled)) == (50, 940)
    assert sum(small.train % 2) == 25
    assert not set(small.train) & set(small.unlabelled)


def test_groups_never_stand_on_both_sides(load):
    rows = [{**row, "group": f"film {i // 7}"} for i, row in enumerate(labelled(210))]
    choice = choose(load(train=rows, test=labelled(4, group="x")), budget(validation_examples=30))
    assert len(choice.validation) == 30
    assert not {i // 7 for i in choice.validation} & {i // 7 for i in choice.train}
    # What a held-out group has beyond the 30 trains nothing either.
    assert 210 - len(choice.train) == 35


def test_too_few_groups_or_examples_for_a_validation_part_are_an_error(load):
    rows = [{**row, "group": f"half {i // 20}"} for i, row in enumerate(labelled(40))]
    with pytest.raises(UsageError, match="no validation split can be held out of its 40 training examples"):
        choose(load(train=rows, test=labelled(2, group="x")), budget())
    with pytest.raises(UsageError, match="its 4 training examples"):
        choose(load(train=labelled(4), test=labelled(2)), budget())


def test_held_out_groups_pass_over_one_that_is_too_large():
    groups = factorize(["large"] * 80 + [f"small {i}" for i in range(20)])
    held = hold_out(np.arange(100), groups, 15, 20)
    assert held[:80].sum() == 0
    assert held.sum() == 15


@pytest.fixture
def small_part(monkeypatch):
    monkeypatch.setattr(splitting, "TUNING_EXAMPLES", 50)


def test_a_search_is_scored_on_what_the_budget_leaves_and_trains_as_the_board_does(load, small_part):
    data = load(train=labelled(400), test=labelled(40, 400))
    settings = budget(train_examples=100, validation_examples=20)
    board, search = choose(data, settings), choose_for_tuning(data, settings)
    assert search.scored_split == "train"
    assert len(search.scored) == 50
    assert sum(search.scored % 2) == 25  # stratified
    assert set(search.scored) < set(board.unlabelled)
    assert set(search.unlabelled) == set(board.unlabelled) - set(search.scored)
    assert list(search.train) == list(board.train)
    assert list(search.validation) == list(board.validation)


def test_a_search_trains_on_as_many_examples_but_none_of_a_group_that_it_is_scored_on(load, small_part):
    rows = [{**row, "group": f"film {i // 7}"} for i, row in enumerate(labelled(700))]
    settings = budget(train_examples=300, validation_examples=20)
    search = choose_for_tuning(load(train=rows, test=labelled(4, group="x")), settings)
    assert (len(search.train), len(search.scored)) == (300, 50)
    used = np.concatenate([search.train, search.unlabelled, search.validation])
    assert not {i // 7 for i in search.scored} & {i // 7 for i in used}


def test_where_the_budget_leaves_too_little_a_search_is_scored_on_validation(load, small_part):
    data = load(train=labelled(110), test=labelled(20, 110))
    search = choose_for_tuning(data, budget(train_examples=85, validation_examples=20))
    assert search.scored_split == "train"
    assert list(search.scored) == list(search.validation)
    assert len(search.train) == 85


def test_a_validation_split_of_the_data_is_used_up_to_the_wanted_number(load, small_part):
    data = load(train=labelled(40), validation=labelled(70, 40), test=labelled(20, 110))
    search = choose_for_tuning(data, budget(validation_examples=10))
    assert (search.scored_split, len(search.scored)) == ("validation", 50)
    assert set(search.validation) < set(search.scored)


def test_fewer_labels_are_among_more_and_validation_takes_no_more_of_them(load):
    rows = [{**row, "group": f"film {i // 7}"} for i, row in enumerate(labelled(700))]
    data = load(train=rows, test=labelled(40, 700, group="x"))
    whole = budget(train_examples=300, validation_examples=50)
    few, more, most = (choose(data, whole.at_labels(count)) for count in (8, 16, 64))
    everything = choose(data, whole)
    assert set(few.train) < set(more.train) < set(most.train) < set(everything.train)
    assert set(few.validation) < set(more.validation) < set(everything.validation)
    assert [len(choice.train) for choice in (few, more, most)] == [8, 16, 64]
    assert [len(choice.validation) for choice in (few, more, most)] == [8, 16, 50]
    # The texts without labels are all others but those that are held out.
    assert len(few.unlabelled) + 8 == len(everything.unlabelled) + 300
    assert few.scored.tolist() == everything.scored.tolist()


def test_each_label_is_among_a_few_examples_if_they_can_hold_it(load):
    names = ["common"] * 180 + ["rare"] * 12 + ["rarest"] * 8
    rows = [{"text": f"text {i}", "label": name} for i, name in enumerate(names)]
    task = ToyTask({"train": rows, "test": rows[:8]}, labels=("common", "rare", "rarest"))
    data = load(task=task)
    chosen = [choose(data, budget(validation_examples=20).at_labels(count)) for count in (8, 16, 64)]
    counts = [Counter(names[i] for i in choice.train) for choice in chosen]
    assert [count["rarest"] for count in counts] == [1, 1, 3]
    assert [count["rare"] for count in counts] == [1, 1, 4]
    assert set(chosen[0].train) < set(chosen[1].train) < set(chosen[2].train)


def test_labels_that_are_too_few_for_all_strata_go_to_the_frequent_ones():
    strata = np.array([0] * 60 + [1] * 30 + [2] * 10)
    pool = each_stratum_last(stratified_order(strata), strata)
    assert sorted(strata[pool[-3:]]) == [0, 1, 2]
    assert sorted(strata[pool[-2:]]) == [0, 1]
    assert sorted(pool) == list(range(100))


def test_a_search_at_a_label_count_reads_no_further_label(load, small_part):
    data = load(train=labelled(400), validation=labelled(70, 400), test=labelled(40, 470))
    settings = budget(train_examples=100, validation_examples=20).at_labels(16)
    board, search = choose(data, settings), choose_for_tuning(data, settings)
    assert list(search.scored) == list(search.validation) == list(board.validation)
    assert (len(search.scored), search.scored_split) == (16, "validation")
    assert list(search.train) == list(board.train)
