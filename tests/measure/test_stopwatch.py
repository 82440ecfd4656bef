import time
from collections import Counter

import numpy as np
import psutil
import pytest
import torch
from helpers.training import no_report
from transformers import BertTokenizerFast

from kdbench.measure.stopwatch import (
    MAX_REPEATS,
    MAX_WARM_UP_CALLS,
    WINDOW,
    BusyMeter,
    Usage,
    WarmUp,
    busy_warning,
    cuda_events,
    is_stable,
    stopwatch_for,
    texts_of,
    time_rounds,
    time_tokenizers,
    usage,
    wall_clock,
    warm_up,
)


def test_the_wall_clock_counts_the_call_and_what_the_device_has_still_to_do():
    now = 0.0
    told = []

    def wait():
        nonlocal now
        told.append("wait")
        now += 0.5

    def call():
        nonlocal now
        told.append("call")
        now += 0.002

    # What was queued before is waited for before the clock is read.
    assert wall_clock(lambda: now, wait)(call) == pytest.approx(502)
    assert told == ["wait", "call", "wait"]


def test_a_cpu_is_timed_by_the_wall_clock():
    measure = stopwatch_for(torch.device("cpu"))
    assert measure(lambda: time.sleep(0.02)) >= 20


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_events_count_the_work_of_the_call_and_not_what_was_queued_before():
    device = torch.device("cuda")
    block = torch.randn(4096, 4096, device=device)
    measure = cuda_events(device)
    measure(lambda: block @ block)  # the first product loads its library
    one = measure(lambda: block @ block)
    for _ in range(20):
        block @ block
    queued = measure(lambda: block @ block)
    ten = measure(lambda: [block @ block for _ in range(10)])
    assert 0 < queued < 5 * one
    assert ten > 4 * one


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_launching_counts():
    small = torch.ones(8, device="cuda")
    measure = stopwatch_for(torch.device("cuda"))
    measure(lambda: small + 1)
    assert measure(lambda: (time.sleep(0.02), small + 1)) >= 19


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


def test_a_model_that_is_steady_from_the_start_is_called_twice_the_window():
    assert warm_up(lambda: 5.0) == WarmUp(20, stable=True)


def test_slow_first_calls_are_waited_for():
    calls = iter([90.0] * 8 + [5.0] * 100)
    # The window before the last one is then calls 5 to 14, of which four are slow: its median is 5 already.
    assert warm_up(lambda: next(calls)) == WarmUp(24, stable=True)


def test_a_model_that_goes_on_getting_slower_is_given_up_and_said_to_be_unstable():
    calls = (1.05**number for number in range(1000))
    assert warm_up(lambda: next(calls)) == WarmUp(MAX_WARM_UP_CALLS, stable=False)


@pytest.mark.parametrize(("last", "stable"), [(101.9, True), (98.1, True), (102.1, False), (97.9, False)])
def test_two_percent_between_the_medians_of_the_last_windows_is_stable(last, stable):
    assert is_stable([100.0] * WINDOW + [last] * WINDOW) is stable
    assert not is_stable([100.0] * (WINDOW - 1) + [last] * WINDOW)


def test_a_single_slow_call_in_a_window_does_not_matter():
    assert is_stable([100.0] * WINDOW + [100.0] * (WINDOW - 1) + [5000.0])


def meter_of(*counters):
    told = iter(counters)
    meter = BusyMeter(lambda: next(told))
    for _ in range(len(counters) // 2):
        with meter:
            pass
    return meter


def test_the_share_is_of_all_cores_without_our_own():
    # Two cores for ten seconds: 15 busy, 10 of them ours.
    before, after = Usage(busy_s=100, idle_s=50, own_s=7), Usage(busy_s=115, idle_s=55, own_s=17)
    assert meter_of(before, after).share == pytest.approx(5 / 20)


def test_several_times_are_added_up():
    quiet = Usage(0, 0, 0), Usage(10, 10, 10)
    busy = Usage(50, 10, 10), Usage(60, 20, 10)
    assert meter_of(*quiet, *busy).share == pytest.approx(10 / 40)


def test_a_share_is_none_where_counters_stand_still_and_never_below_zero():
    still = Usage(0, 0, 0), Usage(0, 0, 5)
    assert meter_of(*still).share is None
    # Both counters are of a hundredth of a second, and ours may be ahead.
    assert meter_of(Usage(0, 0, 0), Usage(9.99, 10, 10)).share == 0


def test_a_warning_is_given_above_a_tenth():
    assert busy_warning(None) is None
    assert busy_warning(0.1) is None
    assert busy_warning(0.47).startswith("the machine was busy: other processes used 47% of its cores' time")


@pytest.mark.skipif(sum(psutil.cpu_times()) == 0, reason="the system keeps no counters of its processors")
def test_our_own_work_is_ours():
    before, started = usage(), time.process_time()
    while time.process_time() - started < 0.2:
        pass
    after = usage()
    assert after.own_s - before.own_s == pytest.approx(0.2, abs=0.05)
    assert after.busy_s - before.busy_s >= 0.15  # its counters are of a hundredth of a second
    assert after.idle_s >= before.idle_s


def test_a_sentence_takes_what_its_tokenizer_takes():
    now, asked = 0.0, []

    def tokenizer(ms):
        def tokenize(*texts, truncation, max_length):
            nonlocal now
            now += ms
            asked.append((texts, truncation, max_length))

        return tokenize

    def stopwatch(call):
        before = now
        call()
        return now - before

    texts = [("a good film",), ("a bad one",)]
    timed = time_tokenizers(
        {"slow": tokenizer(2.0), "fast": tokenizer(0.5)},
        texts,
        max_length=16,
        rounds=20,
        report=no_report,
        stopwatch=stopwatch,
    )
    assert (timed["slow"].p50_ms, timed["slow"].mean_ms, timed["slow"].calls) == (2, 2, 20)
    assert timed["fast"].mean_ms == 0.5
    assert {call[0] for call in asked} == set(texts)
    assert {call[1:] for call in asked} == {(True, 16)}


def test_a_real_tokenizer_is_timed(tiny_model):
    tokenizer = BertTokenizerFast.from_pretrained(tiny_model)
    timed = time_tokenizers(
        {"a": tokenizer}, [("good film",), ("bad", "film")], max_length=8, rounds=20, report=no_report
    )
    assert 0 < timed["a"].p50_ms < 1000


@pytest.mark.parametrize(
    ("example", "texts"),
    [
        ({"text": "good", "label": "fresh"}, ("good",)),
        ({"text": "one", "text_pair": "two", "label": "same"}, ("one", "two")),
        ({"words": ["Anna", "went", "home"], "tags": ["B", "O", "O"]}, ("Anna went home",)),
    ],
)
def test_texts_are_an_examples_own(example, texts):
    assert texts_of(example) == texts
