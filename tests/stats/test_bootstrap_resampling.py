import tracemalloc

import numpy as np
import pytest
from helpers.scored import ACCURACY, right, simulated

from kdbench.stats import bootstrap, bootstrap_interval, paired_difference
from kdbench.stats.bootstrap import chunks, resampled_scores


def test_the_seed_fixes_the_draws_however_many_fit_in_memory(monkeypatch):
    statistics = simulated(np.random.default_rng(0), [0.8, 0.7], examples=100)
    interval = bootstrap_interval(statistics, ACCURACY, seed=1)
    assert bootstrap_interval(statistics, ACCURACY, seed=2) != interval
    monkeypatch.setattr(bootstrap, "_NUMBERS_AT_ONCE", 700)
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
        paired_difference(right(np.ones(5)), right(np.ones(6)), ACCURACY)
