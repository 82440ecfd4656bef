import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.stats import almost_stochastic_order
from kdbench.stats.significance import violation_ratio


@pytest.mark.parametrize(
    ("a", "b", "ratio"),
    [
        ([2, 3], [0, 1], 0.0),
        ([0, 1], [2, 3], 1.0),
        # Sorted, the quantiles part by -1 and +2: 1 of 1 + 4.
        ([0, 5], [1, 3], 1 / 5),
        ([5, 0], [3, 1], 1 / 5),
        # In thirds and halves: -1 for 1/3, +1 for 1/6, -2 for 1/6, +3 for 1/3.
        ([0, 2, 7], [1, 4], (1 / 3 + 4 / 6) / (1 / 3 + 1 / 6 + 4 / 6 + 9 / 3)),
        ([1, 2], [1, 2], 0.5),
    ],
)
def test_the_violation_ratio_by_hand(a, b, ratio):
    assert violation_ratio(np.array(a, dtype=float), np.array(b, dtype=float)) == pytest.approx(ratio)


samples = st.lists(st.integers(-20, 20).map(float), min_size=2, max_size=6).map(np.array)


@given(samples, samples)
def test_what_speaks_against_one_speaks_for_the_other(a, b):
    assert violation_ratio(a, b) + violation_ratio(b, a) == pytest.approx(1)
    assert violation_ratio(a, a) == 0.5


@given(samples, samples)
def test_the_violation_ratio_equals_an_integral_over_a_fine_grid(a, b):
    levels = (np.arange(3600) + 0.5) / 3600
    distance = np.quantile(a, levels, method="inverted_cdf") - np.quantile(b, levels, method="inverted_cdf")
    if np.any(distance):
        expected = np.sum(distance[distance < 0] ** 2) / np.sum(distance**2)
        assert violation_ratio(a, b) == pytest.approx(expected)


def test_a_sample_that_lies_above_dominates():
    assert almost_stochastic_order([0.9, 0.91, 0.92], [0.8, 0.81, 0.82]) == 0.0
    assert almost_stochastic_order([0.8, 0.81, 0.82], [0.9, 0.91, 0.92]) == 1.0


def test_the_bound_lies_above_the_ratio_and_grows_with_the_confidence():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.8, 1, size=30), rng.normal(size=30)
    ratio = violation_ratio(a, b)
    bounds = [almost_stochastic_order(a, b, confidence=level) for level in (0.5, 0.9, 0.99)]
    assert ratio == pytest.approx(bounds[0])
    assert bounds[0] < bounds[1] < bounds[2] <= 1


def test_more_seeds_make_the_bound_tighter():
    rng = np.random.default_rng(0)
    few = almost_stochastic_order(rng.normal(0.7, 1, 15), rng.normal(size=15))
    many = almost_stochastic_order(rng.normal(0.7, 1, 1500), rng.normal(size=1500))
    assert many < 0.1 < few


def test_samples_alike_pass_the_strict_threshold_seldom_and_the_loose_one_too_often():
    rng = np.random.default_rng(0)
    found = [
        almost_stochastic_order(rng.normal(size=20), rng.normal(size=20), resamples=200) for _ in range(500)
    ]
    assert np.mean(np.array(found) < 0.2) <= 0.06
    assert np.mean(np.array(found) < 0.5) > 0.1


def test_one_score_has_no_distribution():
    with pytest.raises(ValueError, match="needs two scores of each, but has 1, 2"):
        almost_stochastic_order([0.5], [0.4, 0.5])
