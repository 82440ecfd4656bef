import numpy as np
import pytest
from scipy import stats

from kdbench.measure.timing_summary import calls_needed, summarize


@pytest.mark.parametrize(("percentile", "calls"), [(50, 6), (90, 36), (95, 72), (99, 368)])
def test_a_percentile_is_told_from_where_its_interval_ends_within_the_sample(percentile, calls):
    assert calls_needed(percentile) == calls
    # The number of n calls below the percentile is binomial: that all are is what must be unlikely.
    assert stats.binom.pmf(calls, calls, percentile / 100) <= 0.025
    assert stats.binom.pmf(calls - 1, calls - 1, percentile / 100) > 0.025


def summary(calls_ms, reference_ms, batch_size=1, length=None):
    return summarize(
        np.array(calls_ms, float), np.array(reference_ms, float), batch_size=batch_size, length=length
    )


@pytest.mark.parametrize(
    ("calls", "told", "reason"),
    [
        (
            7,
            {"p50_ms"},
            "7 calls are too few for p90 (36), p95 (72), p99 (368), the interval of the speed-up (20)",
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
    # 1, 2 … 401: percentile p stands at place 1 + 4 p.
    point = summary(np.arange(1, 402), np.full(401, 402.0), batch_size=8, length=64)
    assert (point.batch_size, point.length, point.calls) == (8, 64, 401)
    assert (point.p50_ms, point.p90_ms, point.p95_ms, point.p99_ms) == (201, 361, 381, 397)
    assert point.throughput_per_s == pytest.approx(1000 * 8 / 201)
    assert point.speedup == pytest.approx(402 / 201)


def test_the_speedup_is_the_median_of_ratios_not_the_ratio_of_medians():
    point = summary([1, 2, 4, 2, 1], [3, 4, 4, 8, 3])
    assert point.speedup == 3  # of 3, 2, 1, 4, 3; the medians' ratio is 2


def test_pairs_are_those_of_the_first_rounds_where_the_teacher_was_called_more_often():
    assert summary([2] * 20, [6] * 20 + [100] * 30).speedup == 3


def test_the_teacher_is_as_fast_as_itself():
    ms = np.random.default_rng(0).uniform(1, 9, 50)
    point = summary(ms, ms)
    assert (point.speedup, point.speedup_low, point.speedup_high) == (1, 1, 1)


def test_two_timings_of_the_same_model_on_a_drifting_machine_have_an_interval_around_one():
    misses = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        slow = np.exp(np.cumsum(draw.normal(0, 0.05, 100)))  # what slows both alike
        first, second = (slow * draw.gamma(50, 0.1, 100) for _ in range(2))
        point = summary(first, second)
        misses += not point.speedup_low <= 1 <= point.speedup_high
    assert misses <= 20  # 10 are expected at 95%; more than 20 by chance once in 2,000
