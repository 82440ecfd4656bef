import numpy as np
import pytest
import scipy.stats
from helpers.scored import ACCURACY, all_differences, crossed, paired_difference, right, simulated, valued
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from kdbench.evaluation.metrics import METRICS
from kdbench.stats.comparisons import holm, holm_pairs, smallest_difference
from kdbench.stats.intervals import bootstrap_interval
from kdbench.stats.seed_variance import SeedSpread, seed_spreads


@pytest.mark.parametrize("seeds", [1, 4])
def test_a_model_does_not_differ_from_itself(seeds):
    statistics = simulated(np.random.default_rng(0), [0.6, 0.7, 0.8, 0.9][:seeds], examples=100)
    itself = paired_difference(statistics, statistics.copy())
    assert (itself.difference, itself.low, itself.high, itself.p, itself.standard_error) == (0, 0, 0, 1, 0)


def test_one_seed_of_each_gives_the_paired_t_test():
    rng = np.random.default_rng(0)
    a = rng.normal(0.3, 1, size=40)
    b = 0.5 * a + rng.normal(size=40)
    theirs = scipy.stats.ttest_rel(a, b)
    ours = paired_difference(valued(a[None]), valued(b[None]), resamples=20_000)
    assert ours.difference == pytest.approx(np.mean(a - b))
    assert ours.df == theirs.df == 39
    # The bootstrap's variance divides by n, the t test's by n - 1.
    assert ours.standard_error == pytest.approx(scipy.stats.sem(a - b, ddof=0), rel=0.02)
    assert ours.p == pytest.approx(theirs.pvalue, rel=0.15)
    interval = theirs.confidence_interval()
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), abs=0.02)


def test_seeds_that_alone_are_uncertain_give_welchs_test():
    a = valued(np.repeat([[0.1], [0.5], [0.9]], 30, axis=1))
    b = valued(np.repeat([[0.2], [0.25], [0.3], [0.21]], 30, axis=1))
    theirs = scipy.stats.ttest_ind([0.1, 0.5, 0.9], [0.2, 0.25, 0.3, 0.21], equal_var=False)
    ours = paired_difference(a, b, resamples=50)
    interval = theirs.confidence_interval()
    assert (ours.p, ours.df) == pytest.approx((theirs.pvalue, theirs.df))
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high))


def test_paired_interval_equals_scipys_and_p_that_of_mcnemar():
    rng = np.random.default_rng(0)
    a = rng.random(600) < 0.85
    b = np.where(rng.random(600) < 0.8, a, rng.random(600) < 0.7)
    theirs = scipy.stats.bootstrap(
        (a.astype(float), b.astype(float)),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        paired=True,
        n_resamples=2999,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    table = [[np.sum(a & b), np.sum(a & ~b)], [np.sum(~a & b), np.sum(~a & ~b)]]
    ours = paired_difference(right(a), right(b), resamples=2999)
    assert ours.difference == pytest.approx((table[0][1] - table[1][0]) / 600)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.002)
    assert ours.p == pytest.approx(mcnemar(table, exact=False, correction=False).pvalue, abs=0.02)


def test_pairing_shows_what_two_intervals_cannot():
    # b is wrong wherever a is, and on 20 examples more.
    a, b = np.arange(1000) >= 200, np.arange(1000) >= 220
    assert bootstrap_interval(right(a), ACCURACY)[0] < bootstrap_interval(right(b), ACCURACY)[1]
    paired = paired_difference(right(a), right(b))
    assert paired.difference == pytest.approx(0.02)
    assert 0 < paired.low < 0.02 < paired.high
    assert paired.p < 1e-4


def test_p_can_be_small_enough_for_hundreds_of_comparisons():
    a, b = simulated(np.random.default_rng(0), [0.9, 0.6], examples=1000)[:, None]
    assert 0 < paired_difference(a, b).p < 1e-20


def test_three_examples_show_nothing_however_clearly():
    sure = paired_difference(right(np.ones(3)), right(np.zeros(3)))
    assert (sure.difference, sure.standard_error, sure.p) == (1.0, 0.0, 0.25)


def test_a_given_spread_counts_with_its_degrees_of_freedom():
    a, b = simulated(np.random.default_rng(0), [0.8, 0.7], examples=500)[:, None]
    alone = paired_difference(a, b)
    spread = SeedSpread(0.03**2, 10)
    both = paired_difference(a, b, spreads=(spread, spread))
    variance = alone.standard_error**2 + 2 * 0.03**2
    assert both.standard_error == pytest.approx(np.sqrt(variance))
    parts = alone.standard_error**4 / 499 + 2 * 0.03**4 / 10
    assert both.df == pytest.approx(variance**2 / parts)
    assert both.p > alone.p


def test_models_may_differ_in_their_number_of_seeds():
    rng = np.random.default_rng(0)
    a, b = simulated(rng, [0.8, 0.8, 0.8], examples=400), simulated(rng, [0.6], examples=400)
    paired = paired_difference(a, b)
    assert paired.difference == pytest.approx(a[..., 0].mean() - b[..., 0].mean())
    assert paired.p < 0.01


def test_all_pairs_of_many_models_are_what_each_pair_is():
    rng = np.random.default_rng(0)
    models = [simulated(rng, [0.7, 0.75, 0.8][: 1 + i % 3], examples=120) for i in range(5)]
    spreads = [None, SeedSpread(0.01, 3), None, SeedSpread(0.02, 5), None]
    every = all_differences(models, spreads)
    for i, j in [(0, 1), (4, 2), (3, 0)]:
        pair = paired_difference(models[i], models[j], spreads=(spreads[i], spreads[j]))
        assert (every.difference[i, j], every.p[i, j]) == (pair.difference, pytest.approx(pair.p))
        assert (every.standard_error[i, j], every.df[i, j]) == pytest.approx((pair.standard_error, pair.df))
    assert np.array_equal(every.difference, -every.difference.T)
    assert np.array_equal(every.p, every.p.T)
    assert np.all(np.diag(every.p) == 1)
    assert np.all(np.diag(every.standard_error) == 0)


def test_a_f1_is_compared_as_well():
    f1 = METRICS["f1"].score
    rng = np.random.default_rng(0)
    outcomes = np.array([[2, 2], [0, 1], [0, 0]], dtype=np.float64)
    good, bad = (
        outcomes[rng.choice(3, 500, p=[0.5, 0.1, 0.4])],
        outcomes[rng.choice(3, 500, p=[0.3, 0.3, 0.4])],
    )
    assert paired_difference(good[None], bad[None], f1).low > 0.1


def test_a_spread_a_model_is_needed():
    model = right(np.ones(4))
    with pytest.raises(ValueError, match="2 models need as many spreads, but there are 1"):
        all_differences([model, model], [None])


def test_twins_whose_seeds_go_up_and_down_together_are_compared_without_nan():
    # The seeds' scores are equal, so that their spread is less than their answers alone would bring.
    rng = np.random.default_rng(0)
    seeds = np.stack([rng.permutation(np.arange(100) < 70) for _ in range(2)])
    twin = seeds.copy()
    twin[0, np.flatnonzero(seeds[0])[:4]] = False
    found = paired_difference(right(*seeds), right(*twin))
    assert found.difference == pytest.approx(0.02)
    assert found.df >= 1
    assert found.low <= 0.02 <= found.high


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "variances", "moderated"),
    [
        (1, {"of_model": 1.0}, False),
        (3, {"of_model": 0.01, "of_seed": 1.0, "of_answer": 0.01}, False),
        (3, {"of_model": 1.0, "of_seed": 0.01, "of_answer": 0.1}, False),
        (3, {"of_model": 1.0, "of_seed": 1.5, "of_answer": 0.3}, False),
        (3, {"of_model": 0.1, "of_seed": 1.0, "of_answer": 0.1}, True),
        (3, {"of_model": 1.0, "of_seed": 1.5, "of_answer": 0.3}, True),
    ],
    ids=["one seed", "seeds dominate", "examples dominate", "mixed", "seeds, moderated", "mixed, moderated"],
)
def test_models_of_equal_truth_are_told_apart_no_oftener_than_the_level(seeds, variances, moderated):
    rng = np.random.default_rng(0)
    pairs_rejected, families_rejected, trials = [], 0, 400
    above = np.triu_indices(6, k=1)
    for draw in range(trials):
        models = crossed(rng, 6, seeds, 60, **variances)
        spreads = seed_spreads(ACCURACY(models.sum(axis=2)).tolist()) if moderated else None
        found = all_differences(list(models), spreads, resamples=300, seed=draw)
        pairs_rejected.append(np.mean(found.p[above] < 0.05))
        families_rejected += bool(holm_pairs(found.p)[above].min() < 0.05)
    # Averaging over what a row's variance may be makes the tests of moderated rows conservative.
    assert (0.015 if moderated else 0.03) <= np.mean(pairs_rejected) <= 0.07
    # Two standard errors of 400 trials above the level.
    assert families_rejected / trials <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / trials)


@pytest.mark.slow
def test_intervals_of_a_true_difference_cover_it():
    rng = np.random.default_rng(0)
    covered = 0
    for draw in range(1000):
        a, b = crossed(rng, 2, 3, 50, of_model=1.0, of_seed=np.array([1.0, 3.0]), of_answer=0.3)
        found = paired_difference(a + np.array([0.5, 0.0]), b, resamples=200, seed=draw)
        covered += found.low <= 0.5 <= found.high
    assert 0.93 <= covered / 1000 <= 0.97


hits = st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=3)


@given(hits, hits)
def test_swapping_the_models_turns_the_sign_and_p_and_interval_agree(a, b):
    one = paired_difference(right(*a), right(*b), resamples=50)
    other = paired_difference(right(*b), right(*a), resamples=50)
    assert (other.difference, other.p) == (-one.difference, one.p)
    assert (other.low, other.high) == (-one.high, -one.low)
    assert one.low <= one.difference <= one.high
    assert 2**-5 <= one.p <= 1
    if one.standard_error > 0 and abs(one.p - 0.05) > 1e-9:
        assert (one.p < 0.05) == (one.low > 0 or one.high < 0)


@pytest.mark.parametrize(("examples", "alpha"), [(5, 0.05), (30, 0.01), (900, 0.05)])
def test_equals_statsmodels(examples, alpha):
    effect = TTestPower().solve_power(nobs=examples, alpha=alpha, power=0.8, alternative="two-sided")
    standard_error = 0.1 / np.sqrt(examples)
    ours = smallest_difference(standard_error, examples - 1, alpha=alpha)
    assert ours == pytest.approx(0.1 * effect, rel=1e-4)


def test_of_a_known_error_is_the_textbooks_2_8_standard_errors():
    expected = scipy.stats.norm.ppf(0.975) + scipy.stats.norm.ppf(0.8)
    known = smallest_difference(0.01, np.inf, alpha=0.05)
    assert known == pytest.approx(0.01 * expected, rel=1e-4)
    assert smallest_difference(0.01, 99_000, alpha=0.05) == pytest.approx(known, rel=1e-4)


@pytest.mark.parametrize("df", [1, 2, 4.5])
def test_few_degrees_of_freedom_ask_for_much_more(df):
    rng = np.random.default_rng(0)
    difference = smallest_difference(1.0, df, alpha=0.05)
    errors = np.sqrt(rng.chisquare(df, 40_000) / df)
    shown = np.abs(rng.normal(difference, 1, 40_000)) > scipy.stats.t.ppf(0.975, df) * errors
    assert np.mean(shown) == pytest.approx(0.8, abs=0.01)


def test_without_an_error_any_difference_shows():
    assert smallest_difference(0.0, 10, alpha=0.05) == 0.0


probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def test_holm_by_hand():
    # 3 * 0.01, 2 * 0.02, and 0.03 raised to what stands before it.
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])


@pytest.mark.slow
@settings(max_examples=20)  # statsmodels collects garbage at every call: 0.2 s after a thousand tests
@given(probabilities)
def test_holm_equals_statsmodels(p):
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
