import numpy as np
import pytest
from scipy import stats

from kdbench.measure.timing import Size
from kdbench.measure.timing_summary import (
    References,
    calls_needed,
    repeatability,
    repeatability_warning,
    summarize,
)
from kdbench.results.timings import Repeatability


@pytest.mark.parametrize(("percentile", "calls"), [(50, 6), (90, 36), (95, 72), (99, 368)])
def test_a_percentile_is_told_from_where_its_interval_ends_within_the_sample(percentile, calls):
    assert calls_needed(percentile) == calls
    # The number of n calls below the percentile is binomial: that all are is what must be unlikely.
    assert stats.binom.pmf(calls, calls, percentile / 100) <= 0.025
    assert stats.binom.pmf(calls - 1, calls - 1, percentile / 100) > 0.025


def summary(calls_ms, reference_ms, batch_size=1, length=None, inputs=20):
    reference = [reference_ms]
    return summarize(
        [calls_ms],
        References(reference, reference),
        Size(batch_size, length, 1),
        inputs=min(inputs, len(calls_ms)),
    )


@pytest.mark.parametrize(
    ("calls", "told", "reason"),
    [
        (
            7,
            {"p50_ms"},
            "7 calls are too few for p90 (36), p95 (72), p99 (368); one process needs 10 inputs for an interval",
        ),
        (20, {"p50_ms"}, "20 calls are too few for p90 (36), p95 (72), p99 (368)"),
        (71, {"p50_ms", "p90_ms"}, "71 calls are too few for p95 (72), p99 (368)"),
        (367, {"p50_ms", "p90_ms", "p95_ms"}, "367 calls are too few for p99 (368)"),
        (368, {"p50_ms", "p90_ms", "p95_ms", "p99_ms"}, None),
    ],
)
def test_what_few_calls_do_not_carry_is_absent_with_the_reason(calls, told, reason):
    point = summary(np.arange(1, calls + 1), np.full(calls, 10))
    percentiles = {"p50_ms", "p90_ms", "p95_ms", "p99_ms"}
    assert {name for name in percentiles if getattr(point, name) is not None} == told
    assert point.reason == reason
    assert point.speedup is not None
    assert (point.speedup_low is None) == (calls < 20)


def test_percentiles_throughput_and_speedup_of_known_calls():
    # 1, 2 … 401: percentile p stands at place (401 + 1/3) p + 1/3 (Hyndman & Fan, type 8).
    point = summary(np.arange(1, 402), np.full(401, 402.0), batch_size=8, length=64)
    assert (point.batch_size, point.length, point.calls) == (8, 64, 401)
    found = (point.p50_ms, point.p90_ms, point.p95_ms, point.p99_ms)
    assert found == pytest.approx((201, 361.533, 381.6, 397.653), abs=1e-3)
    assert point.throughput_per_s == pytest.approx(1000 * 8 / 201)
    assert point.speedup == pytest.approx(402 / 201)


def test_the_speedup_is_the_median_of_ratios_not_the_ratio_of_medians():
    point = summary([1, 2, 4, 2, 1], [3, 4, 4, 8, 3])
    assert point.speedup == pytest.approx(3)  # of 3, 2, 1, 4, 3; the medians' ratio is 2


def test_pairs_are_those_of_the_first_rounds_where_the_teacher_was_called_more_often():
    assert summary([2] * 20, [6] * 20 + [100] * 30).speedup == pytest.approx(3)


def test_the_teacher_is_as_fast_as_itself():
    ms = np.random.default_rng(0).uniform(1, 9, 50)
    point = summary(ms, ms)
    assert (point.speedup, point.speedup_low, point.speedup_high) == (1, 1, 1)


def test_two_timings_of_the_same_model_on_a_drifting_machine_have_an_interval_around_one():
    misses = 0
    for seed in range(100):
        draw = np.random.default_rng(seed)
        slow = np.exp(np.cumsum(draw.normal(0, 0.05, 100)))  # what slows both alike
        first, second = (slow * draw.gamma(50, 0.1, 100) for _ in range(2))
        point = summary(first, second, inputs=100)
        misses += not point.speedup_low <= 1 <= point.speedup_high
    assert misses <= 13  # 5 are expected at 95%; more than 13 by chance once in 2,000


def test_the_same_model_under_two_names_agrees_with_itself():
    draw = np.random.default_rng(0)
    inputs = np.tile(draw.uniform(4, 12, 50), 2)
    first, second = (inputs * draw.gamma(400, 1 / 400, 100) for _ in range(2))
    measured = repeatability([first], [second], 50)
    assert measured.low <= 1 <= measured.high
    assert abs(measured.split_half) < 0.05
    assert repeatability_warning(measured) is None


def test_a_machine_that_slows_down_halfway_shows_in_the_halves_and_not_in_the_ratio():
    ms = np.tile(np.arange(1.0, 11.0), 4) * np.repeat([1.0, 1.5], 20)
    measured = repeatability([ms], [ms], 10)
    assert measured.split_half == pytest.approx(0.5)
    assert (measured.ratio, measured.low, measured.high) == (1, 1, 1)


def test_the_halves_answer_the_same_inputs():
    # Three inputs, eleven rounds: rounds 0 to 2 are held against 3 to 5.
    ms = np.array([1, 50, 100, 2, 100, 200, 7, 7, 7, 7, 7], dtype=float)
    assert repeatability([ms], [ms], 3).split_half == pytest.approx(1.0)


def test_the_second_name_may_have_fewer_calls():
    teacher, again = np.array([4.0] * 20 + [100.0] * 20), np.full(20, 4.0)
    assert repeatability([teacher], [again], 10).ratio == 1


@pytest.mark.parametrize(
    ("ratio", "low", "high", "warned"),
    [
        (1.05, 0.99, 1.10, False),
        (1.05, 1.01, 1.10, True),
        (0.90, 0.85, 0.95, True),
        (1.01, 1.005, 1.015, False),
    ],
)
def test_a_warning_is_given_where_the_interval_shows_more_than_two_percent(ratio, low, high, warned):
    told = repeatability_warning(Repeatability(ratio=ratio, low=low, high=high, split_half=0))
    assert (told is not None) == warned
    assert told is None or f"{ratio:.3f}x as fast as itself ({low:.3f} to {high:.3f})" in told


@pytest.mark.parametrize(("split_half", "warned"), [(0.09, False), (0.12, True), (-0.12, True)])
def test_a_warning_is_given_where_milliseconds_moved_by_more_than_a_tenth(split_half, warned):
    told = repeatability_warning(Repeatability(ratio=1, low=0.99, high=1.01, split_half=split_half))
    assert (told is not None) == warned
    assert told is None or f"the teacher's median moved by {split_half:+.0%}" in told
