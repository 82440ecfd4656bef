import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from kdbench.stats import holm, holm_pairs

probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def test_by_hand():
    # 3 * 0.01, 2 * 0.02, and 0.03 raised to what stands before it.
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])


@settings(max_examples=20)  # statsmodels collects garbage at every call: 0.2 s after a thousand tests
@given(probabilities)
def test_equals_statsmodels(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


@given(probabilities)
def test_keeps_the_order_and_never_lowers(p):
    adjusted = holm(p)
    assert np.all(adjusted >= p)
    assert np.all(adjusted <= 1)
    assert np.all(np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0)


@given(probabilities, st.integers(0, 20))
def test_a_comparison_that_was_not_made_counts_for_nothing(p, place):
    place = min(place, len(p))
    with_gap = holm([*p[:place], np.nan, *p[place:]])
    assert np.isnan(with_gap[place])
    assert np.array_equal(np.delete(with_gap, place), holm(p))


def test_nothing_to_adjust():
    assert holm([]).shape == (0,)
    assert np.isnan(holm([np.nan, np.nan])).all()


def test_pairs_count_once_and_stand_on_both_sides():
    p = np.array([[1.0, 0.01, 0.03], [0.01, 1.0, 0.02], [0.03, 0.02, 1.0]])
    expected = [[1.0, 0.03, 0.04], [0.03, 1.0, 0.04], [0.04, 0.04, 1.0]]
    assert holm_pairs(p) == pytest.approx(np.array(expected))
    assert np.array_equal(holm_pairs(np.ones((1, 1))), np.ones((1, 1)))
