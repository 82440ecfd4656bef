from collections import Counter

import numpy as np
import pytest

from kdbench.measure.stopwatch import MAX_REPEATS, time_rounds


def no_report(*progress):
    pass


class Log:
    """Who was called with which number, and how long that took."""

    def __init__(self, **ms):
        self.calls = []
        self.timed = {name: self._call(name, taken) for name, taken in ms.items()}

    def _call(self, name, ms):
        def call(number):
            self.calls.append((name, number))
            return ms(number) if callable(ms) else ms

        return lambda numbers: [call(number) for number in numbers]


def test_everyone_answers_the_same_input_once_a_round():
    log = Log(a=1, b=2, c=3)
    time_rounds(log.timed, calls=20, report=no_report)
    assert len(log.calls) == 60
    for number in range(20):
        called = log.calls[3 * number : 3 * number + 3]
        assert {name for name, _ in called} == {"a", "b", "c"}
        assert {given for _, given in called} == {number}


def test_a_turn_is_several_calls_and_the_last_as_many_as_are_left():
    log = Log(a=1, b=2)
    taken = time_rounds(log.timed, calls=20, calls_per_turn=3, report=no_report)
    assert {name: len(ms) for name, ms in taken.items()} == {"a": 20, "b": 20}
    for start in range(0, 36, 6):
        (first, second), numbers = (
            dict.fromkeys(name for name, _ in log.calls[start : start + 6]),
            [*range(start // 2, start // 2 + 3)],
        )
        assert log.calls[start : start + 6] == [(name, n) for name in (first, second) for n in numbers]
    assert sorted(log.calls[36:]) == [("a", 18), ("a", 19), ("b", 18), ("b", 19)]


def test_no_one_has_the_same_place_in_every_round():
    log = Log(a=1, b=2, c=3)
    time_rounds(log.timed, calls=60, report=no_report)
    for place in range(3):
        at_place = Counter(name for name, _ in log.calls[place::3])
        assert set(at_place) == {"a", "b", "c"}
        assert min(at_place.values()) > 10


def test_milliseconds_come_in_the_order_of_the_rounds():
    log = Log(a=lambda number: 10 + number, b=lambda number: 2 * (10 + number))
    taken = time_rounds(log.timed, calls=25, report=no_report)
    np.testing.assert_array_equal(taken["a"], 10 + np.arange(25))
    np.testing.assert_array_equal(taken["b"] / taken["a"], 2)


def test_who_is_fast_is_called_until_the_seconds_are_full_and_the_reference_with_it():
    log = Log(slow=20, fast=5, reference=10)
    taken = time_rounds(log.timed, calls=20, seconds=0.4, reference="reference", report=no_report)
    # 400 ms are 20 calls of 20 ms, 40 of 10 ms, 80 of 5 ms.
    assert {name: len(ms) for name, ms in taken.items()} == {"slow": 20, "fast": 80, "reference": 80}
    assert [number for name, number in log.calls if name == "fast"] == list(range(80))
    assert [number for name, number in log.calls if name == "reference"] == list(range(80))


def test_who_can_never_fill_the_seconds_is_let_go():
    taken = time_rounds(Log(a=0.001, b=1000).timed, calls=20, seconds=5, reference="b", report=no_report)
    assert {name: len(ms) for name, ms in taken.items()} == {"a": 20 * MAX_REPEATS, "b": 20 * MAX_REPEATS}


@pytest.mark.parametrize("seconds", [0, 0.1])
def test_progress_ends_with_all_rounds(seconds):
    told = []
    time_rounds(
        Log(a=1).timed, calls=20, seconds=seconds, report=lambda *progress: told.append(progress), phase="p"
    )
    assert told[0] == ("p", 1, 20, None)
    assert told[-1] == ("p", 20, 20, None)
