import time

import psutil
import pytest

from kdbench.measure.stopwatch import BusyMeter, Usage, busy_warning, usage


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
