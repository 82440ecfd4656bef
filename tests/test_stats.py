import tracemalloc

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.contingency_tables import mcnemar

from kdbench import stats
from kdbench.metrics import get_metric
from kdbench.predictions import Predictions
from kdbench.stats import bootstrap_interval, paired_difference

ACCURACY = get_metric("accuracy").score
F1 = get_metric("f1").score


def right(*seeds) -> np.ndarray:
    """Return (seeds, examples, 2), the statistics of accuracy, from what is right for each seed."""
    hits = np.asarray(seeds, dtype=np.float64)
    return np.stack([hits, np.ones_like(hits)], axis=-1)


def simulated(rng: np.random.Generator, accuracies: list[float], examples: int) -> np.ndarray:
    return right(*(rng.random(examples) < accuracy for accuracy in accuracies))


def test_interval_of_accuracy_equals_scipys():
    hits = np.random.default_rng(0).random(872) < 0.9
    theirs = scipy.stats.bootstrap(
        (hits,), np.mean, n_resamples=9999, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    ours = bootstrap_interval(right(hits), ACCURACY, resamples=9999)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.002)


def test_interval_of_a_correlation_equals_scipys():
    rng = np.random.default_rng(0)
    targets = rng.normal(size=150).astype(np.float32)
    values = (targets + rng.normal(size=150)).astype(np.float32)
    theirs = scipy.stats.bootstrap(
        (values, targets),
        lambda x, y: scipy.stats.pearsonr(x, y, axis=-1).statistic,
        paired=True,
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        confidence_level=0.9,
        rng=np.random.default_rng(1),
    ).confidence_interval
    pearson = get_metric("pearson")
    statistics = pearson.statistics(Predictions(np.arange(150), values[:, None], targets), ())
    ours = bootstrap_interval(statistics[None], pearson.score, confidence=0.9)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_intervals_cover_a_known_f1():
    rng = np.random.default_rng(0)
    # True and false positives, misses and true negatives as the terms of F1.
    outcomes = np.array([[2, 2], [0, 1], [0, 1], [0, 0]], dtype=np.float64)
    shares = np.array([0.35, 0.1, 0.15, 0.4])
    truth = F1(shares @ outcomes)
    covered = 0
    for draw in range(300):
        sample = outcomes[rng.choice(4, size=300, p=shares)]
        low, high = bootstrap_interval(sample[None], F1, resamples=500, seed=draw)
        covered += bool(low <= truth <= high)
    assert 0.91 <= covered / 300 <= 0.985


def test_a_model_that_is_always_right_has_an_interval_of_no_width():
    assert bootstrap_interval(right(np.ones(50)), ACCURACY) == (1.0, 1.0)


def test_the_same_answers_from_every_seed_are_no_more_certain_than_from_one():
    hits = np.random.default_rng(0).random(200) < 0.8
    once = bootstrap_interval(right(hits), ACCURACY)
    assert bootstrap_interval(right(*[hits] * 5), ACCURACY) == pytest.approx(once, abs=1e-12)


def test_seeds_that_differ_widen_the_interval_as_a_bootstrap_of_their_scores_does():
    accuracies = [0.70, 0.74, 0.78, 0.82, 0.86]
    # So many examples that the seeds are all that is uncertain.
    statistics = simulated(np.random.default_rng(0), accuracies, examples=20_000)
    scores = ACCURACY(statistics.sum(axis=1))
    theirs = scipy.stats.bootstrap(
        (scores,), np.mean, n_resamples=9999, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert bootstrap_interval(statistics, ACCURACY, resamples=1000) == pytest.approx(
        (theirs.low, theirs.high), abs=0.01
    )


def test_a_higher_confidence_is_a_wider_interval():
    statistics = simulated(np.random.default_rng(0), [0.8, 0.8], examples=100)
    narrow = bootstrap_interval(statistics, ACCURACY, confidence=0.8)
    wide = bootstrap_interval(statistics, ACCURACY, confidence=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_the_seed_fixes_the_draws_however_many_fit_in_memory(monkeypatch):
    statistics = simulated(np.random.default_rng(0), [0.8, 0.7], examples=100)
    interval = bootstrap_interval(statistics, ACCURACY, seed=1)
    assert bootstrap_interval(statistics, ACCURACY, seed=2) != interval
    monkeypatch.setattr(stats, "_DRAWS_AT_ONCE", 700)
    assert bootstrap_interval(statistics, ACCURACY, seed=1) == interval


def test_memory_does_not_grow_with_the_resamples():
    statistics = simulated(np.random.default_rng(0), [0.8, 0.8], examples=10_000)
    tracemalloc.start()
    try:
        bootstrap_interval(statistics, ACCURACY, resamples=500)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("seeds", [1, 4])
def test_a_model_does_not_differ_from_itself(seeds):
    statistics = simulated(np.random.default_rng(0), [0.6, 0.7, 0.8, 0.9][:seeds], examples=100)
    itself = paired_difference(statistics, statistics, ACCURACY)
    assert (itself.difference, itself.p) == (0.0, 1.0)
    assert itself.low <= 0.0 <= itself.high
    if seeds == 1:
        assert (itself.low, itself.high) == (0.0, 0.0)


def test_paired_interval_equals_scipys_and_p_that_of_mcnemar():
    rng = np.random.default_rng(0)
    a = rng.random(600) < 0.85
    b = np.where(rng.random(600) < 0.8, a, rng.random(600) < 0.7)
    theirs = scipy.stats.bootstrap(
        (a.astype(float), b.astype(float)),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        paired=True,
        n_resamples=9999,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    table = [[np.sum(a & b), np.sum(a & ~b)], [np.sum(~a & b), np.sum(~a & ~b)]]
    ours = paired_difference(right(a), right(b), ACCURACY, resamples=9999)
    assert ours.difference == pytest.approx((table[0][1] - table[1][0]) / 600)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.002)
    assert ours.p == pytest.approx(mcnemar(table, exact=False, correction=False).pvalue, abs=0.02)


def test_pairing_shows_what_two_intervals_cannot():
    # b is wrong wherever a is, and on 20 examples more.
    a, b = np.arange(1000) >= 200, np.arange(1000) >= 220
    assert bootstrap_interval(right(a), ACCURACY)[0] < bootstrap_interval(right(b), ACCURACY)[1]
    paired = paired_difference(right(a), right(b), ACCURACY)
    assert paired.difference == pytest.approx(0.02)
    assert 0 < paired.low < 0.02 < paired.high
    assert paired.p < 0.01


def test_swapping_the_models_turns_the_sign():
    a, b = simulated(np.random.default_rng(0), [0.8, 0.7], examples=300)[:, None]
    one, other = paired_difference(a, b, ACCURACY), paired_difference(b, a, ACCURACY)
    assert (other.difference, other.p) == (-one.difference, one.p)
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=1e-12)


def test_models_may_differ_in_their_number_of_seeds():
    rng = np.random.default_rng(0)
    a, b = simulated(rng, [0.8, 0.8, 0.8], examples=400), simulated(rng, [0.6], examples=400)
    paired = paired_difference(a, b, ACCURACY)
    assert paired.difference == pytest.approx(a[..., 0].mean() - b[..., 0].mean())
    assert paired.p < 0.01


def test_models_of_equal_truth_are_told_apart_no_oftener_than_the_level():
    rng = np.random.default_rng(0)
    rejected = sum(
        paired_difference(*simulated(rng, [0.8, 0.8], 200)[:, None], ACCURACY, resamples=500).p < 0.05
        for _ in range(300)
    )
    assert 0.02 <= rejected / 300 <= 0.085


def test_models_of_different_test_sets_are_not_compared():
    with pytest.raises(ValueError, match="must match exactly"):
        paired_difference(right(np.ones(5)), right(np.ones(6)), ACCURACY)
