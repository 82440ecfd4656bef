"""The figures of a timing are those of its calls."""

import pytest
from helpers.timed import STUDENT, TEACHER, timed_in_three_processes

from kdbench.share import verify_timings
from kdbench.share.verify_timings import recomputed, too_many_calls


@pytest.fixture(scope="module")
def timing():
    return timed_in_three_processes()


def changed(timing, **values):
    """Return `timing` with other values in the first point of the student."""
    student = next(model for model in timing.models if model.key == STUDENT)
    first, *back_ends = student.back_ends
    point, *points = first.points
    first = first.model_copy(update={"points": (point.model_copy(update=values), *points)})
    student = student.model_copy(update={"back_ends": (first, *back_ends)})
    models = [student if model.key == STUDENT else model for model in timing.models]
    return timing.model_copy(update={"models": tuple(models)})


def test_what_was_measured_comes_out(timing):
    assert list(recomputed(timing, {TEACHER})) == []
    assert list(recomputed(timing, set())) == []  # without the teacher's row nothing is said of speed-ups


@pytest.mark.parametrize(
    "name", ["p50_ms", "p50_low_ms", "p95_ms", "throughput_per_s", "speedup", "eager_speedup_high"]
)
def test_a_figure_that_is_not_that_of_the_calls_is_named(timing, name):
    stored = getattr(next(model for model in timing.models if model.key == STUDENT).main, name)
    (line,) = recomputed(changed(timing, **{name: 1.02 * stored}), {TEACHER})
    assert line.startswith(f"{name} is {1.02 * stored}, but ")
    assert f"({STUDENT}, torch, batch 1)" in line


def test_calls_that_were_left_out_are_found(timing):
    student = next(model for model in timing.models if model.key == STUDENT)
    fewer = tuple(calls[:40] for calls in student.main.calls_ms)
    lines = list(recomputed(changed(timing, calls_ms=fewer), {TEACHER}))
    assert any(line.startswith("calls is 180, but 120") for line in lines)


def test_more_calls_than_can_be_resampled_are_counted(timing, monkeypatch):
    assert not too_many_calls(timing)
    monkeypatch.setattr(verify_timings, "_MOST_CALLS", 100)
    assert too_many_calls(timing)
