import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from helpers.scored import ACCURACY, all_differences, paired_difference, recovered, right, simulated, valued

from kdbench.stats import bootstrap
from kdbench.stats.bootstrap import chunks, resample, resampled_scores, root_of
from kdbench.stats.comparisons import pairwise_differences
from kdbench.stats.intervals import bootstrap_interval, gap_recovered, resampled_interval


def test_the_seed_fixes_the_draws_however_many_fit_in_memory(monkeypatch):
    statistics = simulated(np.random.default_rng(0), [0.8, 0.7], examples=100)
    interval = bootstrap_interval(statistics, ACCURACY, seed=1)
    assert bootstrap_interval(statistics, ACCURACY, seed=2) != interval
    monkeypatch.setattr(bootstrap, "NUMBERS_AT_ONCE", 700)
    assert bootstrap_interval(statistics, ACCURACY, seed=1) == interval


def test_memory_does_not_grow_with_the_resamples():
    statistics = simulated(np.random.default_rng(0), [0.8, 0.8], examples=10_000)
    tracemalloc.start()
    try:
        bootstrap_interval(statistics, ACCURACY, resamples=500)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_seeds_share_the_drawn_examples():
    hits = np.random.default_rng(0).random(50) < 0.5
    drawn = resampled_scores(right(hits, ~hits), ACCURACY, 100, np.random.default_rng(0))
    assert drawn.sum(axis=1) == pytest.approx(np.ones(100))
    assert drawn[:, 0].std() > 0.03


@pytest.mark.parametrize(("total", "width"), [(7, 1), (7, 400_000), (1, 10**9), (5, 10**6)])
def test_chunks_sum_to_all_rows_and_none_is_empty(total, width):
    assert sum(chunks(total, width)) == total
    assert min(chunks(total, width)) > 0


def test_models_of_different_test_sets_are_not_compared():
    with pytest.raises(ValueError, match=r"same examples, but theirs are of shapes \[\(5, 2\), \(6, 2\)\]"):
        paired_difference(right(np.ones(5)), right(np.ones(6)))


# Models resampled apart can be held against each other as those resampled together.


@pytest.fixture
def models():
    rng = np.random.default_rng(0)
    return [simulated(rng, accuracies, 300) for accuracies in ([0.9, 0.92], [0.8], [0.85, 0.83, 0.86])]


def test_models_resampled_one_by_one_are_those_resampled_together(models):
    together = resample(models, ACCURACY)
    apart = [resample([model], ACCURACY)[0] for model in models]
    for one, other in zip(together, apart, strict=True):
        assert one.means.tolist() == other.means.tolist()
        assert one.scores.tolist() == other.scores.tolist()
        assert one.own_examples_variance == pytest.approx(other.own_examples_variance, abs=1e-15)


def test_what_was_resampled_apart_gives_the_same_statistics(models):
    apart = [resample([model], ACCURACY)[0] for model in models]
    spreads = [None, None, None]
    known = pairwise_differences(apart, spreads, np.eye(3, dtype=bool))
    together = all_differences(models)
    np.testing.assert_allclose(known.p, together.p)
    np.testing.assert_allclose(known.standard_error, together.standard_error)
    assert known.of(0, 1).p == pytest.approx(together.of(0, 1).p)
    assert resampled_interval(apart[2]) == pytest.approx(bootstrap_interval(models[2], ACCURACY))
    gap, of_together = gap_recovered(apart[::-1], spreads), recovered(*models[::-1])
    assert (gap.share, gap.low, gap.high) == pytest.approx(
        (of_together.share, of_together.low, of_together.high)
    )


def test_a_pair_of_many_is_the_pair_alone(models):
    many, pair = all_differences(models), all_differences(models[:2])
    assert many.of(0, 1).p == pytest.approx(pair.of(0, 1).p)
    assert many.of(0, 1).low == pytest.approx(pair.of(0, 1).low)


def test_the_root_of_a_square_is_centred_on_what_was_observed():
    rng = np.random.default_rng(0)
    squares = valued(rng.normal(0.04, 0.3, (3, 400)))
    (squared,) = resample([squares], ACCURACY, resamples=500)
    inflated = replace(squared, by_seed=squared.by_seed + np.float32(0.01))
    rooted = root_of(inflated)
    assert rooted.scores == pytest.approx(np.sqrt(np.maximum(0, squared.scores)))
    assert (rooted.by_seed**2).mean(axis=0) == pytest.approx(np.maximum(0, squared.scores), abs=2e-3)
    assert rooted.by_seed.min() >= 0
    assert (root_of(replace(squared, scores=-np.ones(3))).scores == 0).all()
