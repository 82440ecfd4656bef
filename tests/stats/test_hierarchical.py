"""Intervals of timings over several processes: by hand, and on draws whose truth is known."""

import numpy as np
import pytest
from scipy import stats

from kdbench.stats.hierarchical import (
    log_mean_ratio,
    log_median,
    log_median_ratio,
    log_percentile,
    log_percentile_ratio,
    process_interval,
)


def of_calls(*processes):
    return [np.array([ms], float) for ms in processes]


def test_with_few_calls_it_is_students_t_over_the_logs_of_the_processes():
    found = process_interval(of_calls([2], [4], [8]), log_median, inputs=1)
    half = stats.t.ppf(0.975, 2) * np.log(2) / np.sqrt(3)  # the logs' standard deviation is log 2
    assert (found.value, found.low, found.high) == pytest.approx((4, 4 * np.exp(-half), 4 * np.exp(half)))


def test_a_ratio_is_the_median_of_the_pairs_of_each_process():
    one, two = np.array([[3, 8, 4], [1, 2, 4]]), np.array([[4.0], [1.0]])
    assert process_interval([one, two], log_median_ratio, inputs=1).value == pytest.approx(
        np.sqrt(3 * 4)
    )  # of 3, 4, 1 and of 4


def test_a_percentile_is_that_of_all_calls_and_has_no_bias_towards_the_middle():
    calls = of_calls(*np.arange(1, 101).reshape(5, 20))
    # Of 100 values, (100 + 1/3) * 0.95 + 1/3 counts places (Hyndman & Fan, type 8).
    assert process_interval(calls, log_percentile(95), inputs=20).value == pytest.approx(95.65)


def test_the_ratio_of_percentiles_and_of_means_is_that_of_two_models():
    ms = np.arange(1.0, 41.0)
    calls = [np.array([3 * ms, ms])] * 3
    for statistic in (log_percentile_ratio(95), log_mean_ratio):
        assert process_interval(calls, statistic, inputs=20).value == pytest.approx(3)


def test_processes_that_agree_by_chance_are_as_uncertain_as_their_inputs():
    calls = np.random.default_rng(0).lognormal(0, 0.3, 30)
    alone = process_interval(of_calls(calls), log_median, inputs=30)
    agreeing = process_interval(of_calls(*[calls] * 4), log_median, inputs=30)
    assert np.log(agreeing.high / agreeing.low) == pytest.approx(
        np.log(alone.high / alone.low) / 2, rel=0.35
    )  # of four times the inputs


def test_more_calls_of_the_same_inputs_add_little():
    inputs = np.random.default_rng(0).lognormal(0, 0.3, 40)
    once, often = (process_interval(of_calls(np.tile(inputs, n)), log_median, inputs=40) for n in (1, 9))
    assert np.log(often.high / often.low) == pytest.approx(np.log(once.high / once.low), rel=0.15)


def test_one_process_with_few_inputs_has_no_interval():
    found = process_interval(of_calls([1, 2, 3]), log_median, inputs=3)
    assert (found.value, found.low, found.high) == (pytest.approx(2), None, None)


def test_processes_that_differ_are_not_pooled_as_if_they_were_one():
    covered = pooled = 0
    for seed in range(150):
        draw = np.random.default_rng(seed)
        processes = [draw.normal(0, 0.03, 40) + draw.normal(0, 0.03) for _ in range(5)]
        found = process_interval(
            [np.exp(np.array([ms])) for ms in processes], log_median, inputs=20, seed=seed
        )
        covered += found.low <= 1 <= found.high
        naive = process_interval(of_calls(np.exp(np.concatenate(processes))), log_median, inputs=200)
        pooled += naive.low <= 1 <= naive.high
    assert covered >= 135  # of 142.5 expected
    assert pooled < 90


@pytest.mark.parametrize("calls", [[], of_calls([]), of_calls([1, 0])])
def test_what_is_no_time_is_refused(calls):
    with pytest.raises(ValueError, match=r"needs calls|above 0"):
        process_interval(calls, log_median, inputs=1)
