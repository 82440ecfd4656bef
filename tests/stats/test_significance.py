import numpy as np
import pytest
import scipy.stats
import statsmodels.stats.contingency_tables
from helpers.scored import ACCURACY, crossed, right, simulated, valued
from hypothesis import given
from hypothesis import strategies as st

from kdbench.evaluation.metrics import METRICS
from kdbench.stats import bootstrap
from kdbench.stats.significance import (
    almost_stochastic_order,
    approximate_randomization,
    mcnemar,
    violation_ratio,
)

answers = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40)


def test_mcnemar_by_hand():
    found = mcnemar([1, 1, 1, 1, 1, 0, 1], [0, 0, 0, 0, 0, 1, 1])
    # Five heads and one tail, or more uneven: 2 * (1 + 6) of 64.
    assert (found.only_a, found.only_b, found.p) == (5, 1, pytest.approx(14 / 64))


@given(answers)
def test_mcnemar_equals_statsmodels(pairs):
    a, b = np.array(pairs, dtype=bool).reshape(-1, 2).T
    found = mcnemar(a, b)
    table = [[np.sum(a & b), found.only_a], [found.only_b, np.sum(~a & ~b)]]
    theirs = statsmodels.stats.contingency_tables.mcnemar(table, exact=True)
    assert found.p == pytest.approx(theirs.pvalue)


def test_models_that_never_part_do_not_differ():
    assert mcnemar([True, False], [True, False]).p == 1.0


def test_mcnemar_needs_one_test_set():
    with pytest.raises(ValueError, match="two lists of one length"):
        mcnemar([True], [True, False])


def test_randomization_equals_all_swaps_of_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.5, 1, size=10), rng.normal(size=10)
    theirs = scipy.stats.permutation_test(
        (a, b), lambda x, y: np.mean(x) - np.mean(y), permutation_type="samples", n_resamples=np.inf
    )
    ours = approximate_randomization(valued(a[None]), valued(b[None]), ACCURACY)
    assert ours == pytest.approx(theirs.pvalue, abs=0.015)


def test_randomization_of_accuracies_equals_mcnemar():
    a, b = simulated(np.random.default_rng(0), [0.85, 0.80], examples=300)
    exact = mcnemar(a[:, 0], b[:, 0]).p
    assert 0.01 < exact < 0.9
    assert approximate_randomization(a[None], b[None], ACCURACY) == pytest.approx(exact, abs=0.02)


def test_the_observed_difference_counts_as_one_shuffle():
    a, b = right(np.ones(200)), right(np.zeros(200))
    assert approximate_randomization(a, b, ACCURACY, permutations=99) == 0.01


def test_a_model_does_not_differ_from_itself():
    model = simulated(np.random.default_rng(0), [0.7, 0.8], examples=50)
    assert approximate_randomization(model, model, ACCURACY, permutations=500) == 1.0


def test_seeds_of_one_example_are_swapped_together():
    # Ten copies of one seed are no more evidence than the seed.
    a, b = simulated(np.random.default_rng(0), [0.8, 0.7], examples=60)
    once = approximate_randomization(a[None], b[None], ACCURACY)
    copied = approximate_randomization(np.stack([a] * 10), np.stack([b] * 10), ACCURACY)
    assert copied == pytest.approx(once, abs=1e-12)


def test_a_score_that_is_no_mean_is_shuffled_as_well(monkeypatch):
    f1 = METRICS["f1"].score
    rng = np.random.default_rng(0)
    outcomes = np.array([[2, 2], [0, 1], [0, 0]], dtype=np.float64)
    good, bad = outcomes[rng.choice(3, 80, p=[0.4, 0.2, 0.4])], outcomes[rng.choice(3, 80, p=[0.3, 0.3, 0.4])]
    p = approximate_randomization(good[None], bad[None], f1, permutations=2000)
    assert 0 < p < 0.5
    assert approximate_randomization(bad[None], good[None], f1, permutations=2000) == pytest.approx(
        p, abs=0.03
    )
    monkeypatch.setattr(bootstrap, "NUMBERS_AT_ONCE", 1000)
    assert approximate_randomization(good[None], bad[None], f1, permutations=2000) == pytest.approx(
        p, abs=0.03
    )


def test_models_that_differ_in_seeds_or_examples_are_not_swapped():
    one, three = right(np.ones(5)), right(*np.ones((3, 5)))
    with pytest.raises(ValueError, match="as many seeds of both models, but there are 1 and 3"):
        approximate_randomization(one, three, ACCURACY)
    with pytest.raises(ValueError, match="same examples"):
        approximate_randomization(one, right(np.ones(6)), ACCURACY)


def test_models_of_equal_truth_are_told_apart_at_the_level():
    rng = np.random.default_rng(0)
    p = [
        approximate_randomization(*crossed(rng, 2, 2, 40, of_model=1.0), ACCURACY, permutations=199)
        for _ in range(1000)
    ]
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(p) <= level) == pytest.approx(
            level, abs=3 * np.sqrt(level * (1 - level) / 1000)
        )


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


def test_the_bound_lies_above_the_ratio():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.8, 1, size=30), rng.normal(size=30)
    assert violation_ratio(a, b) < almost_stochastic_order(a, b) < 1


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
