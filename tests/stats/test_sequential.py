"""What is shown at any look: against levels worked out by hand, and for whatever the differences are."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from kdbench.stats.comparisons import PairwiseDifferences, PairwiseErrors
from kdbench.stats.sequential import Design, SequentialClaims

MARGIN = 0.5
EIGHT_LOOKS = Design(margin=MARGIN, first_seeds=3, max_seeds=10)
Z_PAIR = float(scipy.stats.norm.isf(0.05 / 2 / 8 / 2))
"""What one pair of two rows must exceed at one of eight looks: half of the 5%, two-sided. 2.955 in tables."""
Z_LAST = float(scipy.stats.norm.isf(0.05 / 2 / 8))
"""What the last row must exceed to be good enough: half of the 5%, one-sided. 2.734 in tables."""


def normal_differences(scores, error=1.0):
    """Return the differences of models whose scores have these values and independent normal errors."""
    scores = np.asarray(scores, dtype=np.float64)
    shape = (len(scores), len(scores))
    errors = np.full(shape, float(error))
    df = np.full(shape, np.inf)
    difference = np.subtract.outer(scores, scores)
    tails = PairwiseErrors(errors**2, 10**9, None, errors, df, {})
    p = np.minimum(1.0, 2 * tails.tail(np.abs(difference)))
    return PairwiseDifferences(difference, errors, df, p, np.eye(len(scores), dtype=bool), tails)


def looked(*looks, rows="abcdefgh", design=EIGHT_LOOKS, error=1.0):
    rows = rows[: len(looks[0])]
    claims = SequentialClaims(rows, design)
    for scores in looks:
        claims.look(rows, normal_differences(scores, error), rows)
    return claims


def test_the_five_percent_are_divided_between_two_families_and_among_the_looks():
    assert EIGHT_LOOKS.looks == 8
    assert EIGHT_LOOKS.level == pytest.approx(0.003125)
    assert pytest.approx(2.9552, abs=1e-4) == Z_PAIR
    assert pytest.approx(2.7344, abs=1e-4) == Z_LAST


def test_a_row_is_worse_from_the_critical_difference_on():
    assert looked([Z_PAIR - 0.01, 0.0]).worse_than == {}
    shown = looked([Z_PAIR + 0.01, 0.0])
    assert shown.worse_than == {"b": "a"}
    assert (shown.may_be_best, shown.good_enough, shown.open) == (("a",), ("a",), ())


def test_a_row_is_good_enough_where_a_loss_of_the_margin_is_excluded():
    error = 0.1
    behind = looked([0.0, MARGIN - error * (Z_LAST - 0.05)], error=error)
    assert (behind.may_be_best, behind.good_enough, behind.open) == (("a", "b"), ("b",), ("a",))
    assert behind.open_pairs() == [("a", "b")]
    assert behind.is_close("b", "a")
    assert not behind.is_close("a", "b")
    # Once b is shown to be good enough, a may have all of the level (Holm).
    equivalent = looked([0.0, MARGIN - error * (Z_LAST + 0.05)], error=error)
    assert equivalent.good_enough == ("a", "b")
    assert equivalent.open_pairs() == []
    assert looked([0.0, 0.0], error=0.5).good_enough == ()


def test_a_row_that_may_be_best_itself_keeps_others_from_being_good_enough():
    claims = SequentialClaims("abc", EIGHT_LOOKS)
    differences = normal_differences([0.0, 0.0, -0.5], error=0.05)
    noisy = differences.errors.standard_error.copy()
    noisy[2, :2] = noisy[:2, 2] = 5.0
    object.__setattr__(differences.errors, "standard_error", noisy)
    differences.p[2, :2] = differences.p[:2, 2] = 0.9
    claims.look("abc", differences, "abc")
    assert claims.may_be_best == ("a", "b", "c")
    assert claims.good_enough == ()
    assert claims.open_pairs() == [("a", "c"), ("b", "c")]


def test_what_an_earlier_look_showed_is_kept_and_frees_its_share():
    far, near = 20.0, float(scipy.stats.norm.isf(EIGHT_LOOKS.level / 2 / 2))
    # Of three pairs two are far apart; the third needs a third of the level alone, all of it once both are shown.
    assert looked([near, 0.0]).worse_than == {"b": "a"}
    together = looked([far + near, far, 0.0])
    assert together.worse_than == {"c": "a", "b": "a"}
    later = looked([far, far, 0.0], [near, 0.0, 0.0])
    assert later.worse_than == {"c": "a", "b": "a"}
    third = float(scipy.stats.norm.isf(EIGHT_LOOKS.level / 3 / 2))
    assert near < third
    assert looked([near, 0.0, 0.0]).worse_than == {}


def test_a_row_with_fewer_seeds_than_the_look_asks_for_is_not_tested():
    claims = SequentialClaims("abc", EIGHT_LOOKS)
    claims.look("abc", normal_differences([9.0, 0.0, -9.0]), "ab")
    assert claims.worse_than == {"b": "a"}
    claims.look("cab", normal_differences([-9.0, 9.0, 0.0]), ["a", "c"])
    assert claims.worse_than == {"b": "a", "c": "a"}


def test_the_best_is_the_best_of_those_that_still_have_a_score():
    claims = looked([9.0, 0.0, -0.1])
    assert claims.may_be_best == ("a",)
    claims.lose({"a"})
    assert claims.may_be_best == ()
    assert claims.good_enough == ("b", "c")
    claims = looked([1.0, 0.0])
    claims.lose({"a"})
    assert claims.open == ()


@given(
    st.lists(
        st.lists(st.floats(-12, 12), min_size=5, max_size=5),
        min_size=1,
        max_size=4,
    )
)
def test_no_row_is_stopped_but_by_a_significant_difference_and_some_row_remains(looks):
    claims = SequentialClaims("abcde", EIGHT_LOOKS)
    pairs = 10
    stopped = {}
    for scores in looks:
        differences = normal_differences(scores)
        claims.look("abcde", differences, "abcde")
        for worse, better in claims.worse_than.items() - stopped.items():
            places = "abcde".index(better), "abcde".index(worse)
            assert differences.difference[places] > 0
            assert differences.p[places] < EIGHT_LOOKS.level
        assert stopped.items() <= claims.worse_than.items()
        stopped = claims.worse_than
        first = np.triu_indices(5, k=1)
        if len(looks) == 1 and differences.p[first].min() >= EIGHT_LOOKS.level / pairs:
            assert stopped == {}
