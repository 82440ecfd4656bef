import numpy as np
import pytest

from kdbench.measure.timing_summary import repeatability, repeatability_warning
from kdbench.results.timings import Repeatability


def test_the_same_model_under_two_names_agrees_with_itself():
    draw = np.random.default_rng(0)
    inputs = np.tile(draw.uniform(4, 12, 50), 2)
    first, second = (inputs * draw.gamma(400, 1 / 400, 100) for _ in range(2))
    measured = repeatability(first, second, 50)
    assert measured.low <= 1 <= measured.high
    assert abs(measured.split_half) < 0.05
    assert repeatability_warning(measured) is None


def test_a_machine_that_slows_down_halfway_shows_in_the_halves_and_not_in_the_ratio():
    ms = np.tile(np.arange(1.0, 11.0), 4) * np.repeat([1.0, 1.5], 20)
    measured = repeatability(ms, ms, 10)
    assert measured.split_half == pytest.approx(0.5)
    assert (measured.ratio, measured.low, measured.high) == (1, 1, 1)


def test_the_halves_answer_the_same_inputs():
    # Three inputs, eleven rounds: rounds 0 to 2 are held against 3 to 5.
    ms = np.array([1, 50, 100, 2, 100, 200, 7, 7, 7, 7, 7], dtype=float)
    assert repeatability(ms, ms, 3).split_half == pytest.approx(1.0)


def test_the_second_name_may_have_fewer_calls():
    teacher, again = np.array([4.0] * 20 + [100.0] * 20), np.full(20, 4.0)
    assert repeatability(teacher, again, 10).ratio == 1


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
