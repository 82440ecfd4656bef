import numpy as np
import pytest
import scipy.stats
import statsmodels.stats.contingency_tables
from helpers.scored import ACCURACY, crossed, right, simulated, valued
from hypothesis import given
from hypothesis import strategies as st

from kdbench.evaluation.metrics import METRICS
from kdbench.stats import approximate_randomization, mcnemar
from kdbench.stats import bootstrap as stats_resampling

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
    monkeypatch.setattr(stats_resampling, "_NUMBERS_AT_ONCE", 1000)
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
