import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdbench.data.batches import length_grouped_batches
from kdbench.training.multi_task_batches import JointCollator, JointRows, joint_batches, task_order

PROPORTIONAL, SQUARE_ROOT, ANNEALED = (1.0, 1.0), (0.5, 0.5), (1.0, 0.2)


@pytest.mark.parametrize(
    ("sizes", "steps", "exponents", "expected"),
    [
        ([9, 1], 20, PROPORTIONAL, [18, 2]),
        ([9, 1], 20, SQUARE_ROOT, [15, 5]),  # 3 to 1
        ([16, 81], 35, (0.75, 0.75), [8, 27]),
        ([9, 1], 20, (0.0, 0.0), [10, 10]),
        ([6, 3, 1], 100, PROPORTIONAL, [60, 30, 10]),
    ],
)
def test_tasks_get_their_shares_of_the_steps(sizes, steps, exponents, expected):
    order = task_order(sizes, steps, exponents)
    assert np.bincount(order, minlength=len(sizes)).tolist() == expected


def test_annealed_shares_go_from_proportional_towards_equal():
    order = np.array(task_order([32, 1], 4000, ANNEALED))
    # 32 ** 0.2 = 2: the last steps go 2 to 1, the first ones 32 to 1.
    assert np.mean(order[-60:] == 1) == pytest.approx(1 / 3, abs=0.02)
    assert np.mean(order[:330] == 1) == pytest.approx(1 / 33, abs=0.01)


@given(st.tuples(st.integers(1, 500), st.integers(1, 500)), st.integers(1, 300))
def test_at_no_step_is_one_of_two_tasks_a_whole_batch_off_its_share(sizes, steps):
    given_out = np.cumsum(np.array(task_order(sizes, steps, PROPORTIONAL)) == 1)
    due = np.arange(1, steps + 1) * sizes[1] / sum(sizes)
    assert np.abs(given_out - due).max() < 1


def test_a_task_too_small_for_a_step_gets_the_last_one_of_the_largest():
    assert task_order([1000, 1000, 1], 6, PROPORTIONAL) == [0, 1, 0, 1, 2, 1]


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=8), st.integers(8, 40))
def test_no_task_is_left_out(sizes, steps):
    assert set(task_order(sizes, steps, PROPORTIONAL)) == set(range(len(sizes)))


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=8))
def test_equal_shares_alternate_whatever_the_sizes(sizes):
    order = task_order(sizes, 3 * len(sizes), (0.0, 0.0))
    rounds = np.array(order).reshape(3, -1)
    assert (np.sort(rounds, axis=1) == np.arange(len(sizes))).all()


LENGTHS = [[3, 9, 4, 8, 5, 7, 6], [30, 20, 10]]
SIZES = [2, 1]


def test_each_task_goes_through_its_rows_as_it_would_alone():
    order = [0, 1, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0]
    stream = joint_batches(LENGTHS, SIZES, order, seed=5)
    for task, start in ((0, 0), (1, 7)):
        mine = [
            [index - start for index in batch] for batch, at in zip(stream, order, strict=True) if at == task
        ]
        alone = length_grouped_batches(LENGTHS[task], SIZES[task], 5)
        assert mine == list(itertools.islice(alone, len(mine)))
        assert len(mine) * SIZES[task] > len(LENGTHS[task])  # into the second pass


def test_rows_stand_behind_each_other_and_name_their_task():
    rows = JointRows({"a": [{"id": 0}, {"id": 1}], "b": [{"id": 0}], "c": [{"id": 7}]})
    assert len(rows) == 4
    assert [(rows[i]["task"], rows[i]["id"]) for i in range(4)] == [("a", 0), ("a", 1), ("b", 0), ("c", 7)]


def test_a_batch_is_padded_as_ever_and_names_its_task(make_experiment):
    experiment = make_experiment()
    picked = [experiment.task.train[i] for i in range(4)]
    batch = JointCollator(experiment.tokenizer, {"toy-sentiment": experiment.kind})(
        [{**row, "task": "toy-sentiment"} for row in picked]
    )
    assert batch.pop("task") == "toy-sentiment"
    plain = experiment.collate(picked)
    assert batch.keys() == plain.keys()
    assert all(torch.equal(batch[name], plain[name]) for name in plain)
