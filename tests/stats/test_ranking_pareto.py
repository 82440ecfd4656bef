import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kdbench.stats import pareto_front


def surely(values) -> np.ndarray:
    """Return (models, models): i less than j, all differences shown."""
    return np.less.outer(values, values)


def front(quality, cost, better=None, cheaper=None) -> list[bool]:
    better = surely([-q for q in quality]) if better is None else np.array(better, dtype=bool)
    cheaper = surely(cost) if cheaper is None else np.array(cheaper, dtype=bool)
    return pareto_front(quality, cost, better, cheaper).tolist()


def test_who_is_worse_and_dearer_is_off_the_front():
    assert front([0.9, 0.8, 0.7], [10, 5, 7]) == [True, True, False]


def test_of_equal_cost_the_better_and_of_equal_quality_the_cheaper_remains():
    assert front([0.9, 0.8], [5, 5]) == [True, False]
    assert front([0.9, 0.9], [5, 4]) == [False, True]
    assert front([0.9, 0.9], [5, 5]) == [True, True]


def test_what_is_not_shown_pushes_nobody_off():
    nothing = np.zeros((2, 2))
    assert front([0.9, 0.8], [5, 5.1], better=nothing, cheaper=nothing) == [True, True]
    assert front([0.9, 0.8], [5, 5.1], better=nothing, cheaper=[[0, 1], [0, 0]]) == [True, False]
    assert front([0.9, 0.8], [5, 5.1], better=[[0, 1], [0, 0]], cheaper=nothing) == [True, False]


def test_who_is_shown_better_at_a_higher_cost_pushes_nobody_off():
    assert front([0.9, 0.8], [6, 5], better=[[0, 1], [0, 0]]) == [True, True]


def test_what_is_unknown_is_never_on_the_front_and_pushes_nobody_off():
    assert front([np.nan, 0.8, 0.9], [1, 5, np.nan]) == [False, True, False]
    everything = np.ones((2, 2))
    assert front([0.8, np.nan], [5, 1], better=everything - np.eye(2), cheaper=everything - np.eye(2)) == [
        True,
        False,
    ]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8))
def test_equals_the_definition_where_everything_is_shown(models):
    quality, cost = [q for q, _ in models], [c for _, c in models]
    by_definition = [
        not any(q2 >= q and c2 <= c and (q2, c2) != (q, c) for q2, c2 in models) for q, c in models
    ]
    assert front(quality, cost) == by_definition
    assert any(by_definition) == bool(models)
