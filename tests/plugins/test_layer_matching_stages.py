from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kdbench_plugins._layer_matching import two_stages

from kdbench.api.task import TaskKind


def steps_of_stages(steps, first):
    budget = SimpleNamespace(steps_for=lambda kind, examples: steps)
    bench = SimpleNamespace(
        budget=budget,
        experiment=SimpleNamespace(kind=TaskKind.TOKEN_CLASSIFICATION),
        task=SimpleNamespace(train_examples=1),
    )
    return [round(share * steps) for share in two_stages(bench, first)]  # as bench.train rounds a share


@given(st.integers(2, 10_000), st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_they_use_the_steps_up_and_none_is_left_out(steps, first):
    stages = steps_of_stages(steps, first)
    assert sum(stages) == steps
    assert min(stages) >= 1
    assert abs(stages[0] - first * steps) <= 1


@pytest.mark.parametrize(
    ("steps", "first", "expected"),
    [(120, 0.5, [60, 60]), (5, 0.5, [2, 3]), (4, 0.01, [1, 3]), (4, 0.99, [3, 1]), (240, 0.75, [180, 60])],
)
def test_by_hand(steps, first, expected):
    assert steps_of_stages(steps, first) == expected
