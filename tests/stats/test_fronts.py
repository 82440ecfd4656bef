"""How probably a model is on the front of quality and cost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.stats.fronts import SURE, drawn_costs, front_probabilities, relative_error


def certain(quality, cost, **how):
    """Return the probabilities where nothing is uncertain."""
    draws = [np.array([values], dtype=float) for values in (quality, cost)]
    return front_probabilities(*draws, **how).tolist()


def test_who_is_worse_and_dearer_is_off_the_front():
    assert certain([0.9, 0.8, 0.7], [10, 5, 7]) == [1, 1, 0]


def test_of_equal_cost_the_better_and_of_equal_quality_the_cheaper_remains():
    assert certain([0.9, 0.8], [5, 5]) == [1, 0]
    assert certain([0.9, 0.9], [5, 4]) == [0, 1]
    assert certain([0.9, 0.9], [5, 5]) == [1, 1]


def test_shares_of_draws_by_hand():
    # The second is better in one draw of four, and cheaper in another; the first is cheaper in three.
    quality = np.array([[0.8, 0.7], [0.8, 0.9], [0.8, 0.7], [0.8, 0.7]])
    cost = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 0.5]])
    assert front_probabilities(quality, cost).tolist() == [1.0, 0.5]


def test_what_is_unknown_has_no_probability_and_pushes_nobody_off():
    shares = certain([np.nan, 0.8, 0.9], [1, 5, np.nan])
    assert np.isnan(shares).tolist() == [True, False, True]
    assert shares[1] == 1


def test_a_better_quality_does_not_excuse_who_is_denied_that():
    immune = np.array([[False, True], [False, False]])
    assert certain([0.8, 0.9], [1, 2], immune=immune) == [1, 0]
    assert certain([0.8, 0.9], [2, 1], immune=immune) == [0, 1]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=8))
def test_equals_the_definition_where_nothing_is_uncertain(models):
    by_definition = [
        not any(q2 >= q and c2 <= c and (q2, c2) != (q, c) for q2, c2 in models) for q, c in models
    ]
    assert certain(*zip(*models, strict=True)) == by_definition


def test_costs_spread_as_their_intervals_say():
    low, high = np.array([0.9]), np.array([1.25])
    drawn = drawn_costs(np.sqrt(low * high), relative_error(low, high), 20_000)
    assert np.quantile(drawn, [0.025, 0.975]) == pytest.approx([0.9, 1.25], rel=0.01)
    assert (drawn_costs(np.array([7.0]), np.zeros(1), 3) == 7).all()


def test_hardly_a_board_takes_a_row_off_a_front_that_it_is_on():
    rng = np.random.default_rng(0)
    wrong, shown = [], []
    for _ in range(60):
        truth, cost = rng.uniform(0.7, 0.8, 20), np.exp(rng.normal(0, 0.7, 20))
        errors = rng.choice([0.005, 0.02], 20)
        observed = truth + errors * rng.normal(size=20)
        drawn = observed + errors * rng.normal(size=(1000, 20))
        shares = front_probabilities(drawn, np.broadcast_to(cost, drawn.shape))
        on_front = np.array(certain(truth, cost)) == 1
        wrong.append((shares[on_front] < 1 - SURE).any())
        shown.append((shares >= 1 - SURE).mean())
    assert np.mean(wrong) <= 0.06
    assert np.mean(shown) < 0.5
