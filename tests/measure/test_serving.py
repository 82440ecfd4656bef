"""Requests of open and closed loops: queues against their formulas, on a clock of the test's own."""

import threading
import time

import numpy as np
import pytest

from kdbench.measure.serving import (
    REQUESTS,
    closed_loop,
    open_loop,
    poisson_arrivals,
    rates_of,
    requests_within,
    serve_closed_loop,
    serve_open_loop,
)


class FakeClock:
    """A clock that only waiting and serving move."""

    def __init__(self):
        self.time = 100.0

    def now(self):
        return self.time

    def wait_until(self, moment):
        self.time = max(self.time, moment)


def served(arrivals, services_s):
    clock = FakeClock()

    def answer(number):
        clock.time += services_s[number]

    return serve_open_loop(arrivals, answer, clock)


def test_a_latency_runs_from_the_scheduled_arrival():
    # The first request takes 3 s; the next two arrive meanwhile and wait 2 s and 2.5 s, the last one does not.
    found = served([1.0, 2.0, 2.5, 10.0], [3.0, 1.0, 1.0, 1.0])
    assert found.latencies_ms == pytest.approx([3000, 3000, 3500, 1000])
    assert found.services_ms == pytest.approx([3000, 1000, 1000, 1000])
    assert found.elapsed_s == pytest.approx(11)


@pytest.mark.parametrize(
    ("services", "utilization", "mean_wait"),
    [
        ([1.0, 1.0], 0.5, 0.5),  # M/D/1: 0.5 * 1 / (2 * 0.5)
        ([1.0, 1.0], 0.8, 2.0),  # 0.8 * 1 / (2 * 0.2)
        ([0.5, 1.5], 0.5, 0.625),  # M/G/1, E[S^2] = 1.25: 0.5 * 1.25 / (2 * 0.5)
        ([0.2, 1.8], 0.8, 3.28),  # E[S^2] = 1.64: 0.8 * 1.64 / (2 * 0.2)
    ],
)
def test_the_mean_wait_is_that_of_pollaczek_and_khinchine(services, utilization, mean_wait):
    number = 200_000
    drawn = np.random.default_rng(1).choice(services, number)
    found = served(poisson_arrivals(utilization, number, seed=0), drawn)
    waits = (np.array(found.latencies_ms) - found.services_ms) / 1000
    assert waits.mean() == pytest.approx(mean_wait, rel=0.05)
    assert (waits < 1e-9).mean() == pytest.approx(1 - utilization, abs=0.01)  # who finds the model idle
    summary = open_loop(utilization, [found.latencies_ms[:2000]], [found.services_ms])
    assert summary.utilization == pytest.approx(utilization, rel=0.01)


def test_a_rate_beyond_capacity_has_no_percentiles_but_says_so():
    found = served(poisson_arrivals(1.25, 1000, seed=0), [1.0] * 1000)
    assert found.latencies_ms[-1] > 100 * found.latencies_ms[0]
    summary = open_loop(1.25, [found.latencies_ms], [found.services_ms])
    assert summary.is_beyond_capacity
    assert (summary.p50_ms, summary.p95_ms, summary.p99_ms) == (None, None, None)
    assert summary.reason == (
        "beyond capacity: a request takes 1e+03 ms of service, so that 1.25 per second need 125% of the time"
    )
    assert summary.requests == 1000


def test_a_model_far_beyond_capacity_is_not_waited_for():
    found = served(np.arange(1.0, 11.0), [10.0] * 10)
    assert len(found.latencies_ms) == 2  # 10 s of arrivals; after 21 s the second answer ends the loop


def test_all_rows_see_the_same_arrivals_and_processes_see_others():
    assert np.array_equal(poisson_arrivals(50, 20, seed=1), poisson_arrivals(50, 20, seed=1))
    assert not np.array_equal(poisson_arrivals(50, 20, seed=1), poisson_arrivals(50, 20, seed=2))
    gaps = np.diff(poisson_arrivals(50, 100_000, seed=3))
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.02)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.02)  # as of an exponential distribution


def test_rates_are_shares_of_the_teachers_capacity_in_two_digits():
    assert rates_of(123.4) == (62.0, 99.0, 200.0)
    assert requests_within(rates_of(123.4)) == REQUESTS
    # At 1.2, 1.9 and 3.8 per second 124 requests would take 200 s.
    assert requests_within((1.0, 2.0, 4.0), requests=124, seconds=7) == 4


def test_percentiles_are_means_of_the_processes_own_and_intervals_of_their_differences():
    scales = (1, 1.1, 0.9)
    processes = [np.linspace(low, 2 * low, 124).tolist() for low in scales]
    summary = open_loop(10, processes, processes)
    logs = np.log(scales)
    half = 4.3027 * logs.std(ddof=1) / np.sqrt(3)  # Student's t of 2 degrees of freedom
    for name, of_one in (("p50", 1.5), ("p95", np.percentile(processes[0], 95, method="median_unbiased"))):
        expected = of_one * np.exp(logs.mean() + np.array([-half, 0, half]))
        found = [getattr(summary, f"{name}{end}_ms") for end in ("_low", "", "_high")]
        assert found == pytest.approx(expected, rel=1e-4)
    pooled = np.percentile(np.concatenate(processes), 99, method="median_unbiased")
    assert (summary.p99_ms, summary.reason) == (pytest.approx(pooled), None)
    alone = open_loop(10, processes[:1], processes[:1])
    assert (alone.p50_ms, alone.p50_low_ms) == (pytest.approx(1.5), None)
    assert alone.reason == "124 requests are too few for p99 (368)"
    few = open_loop(10, [own[:50] for own in processes], processes)
    assert (few.p95_ms, few.p50_ms is None) == (None, False)
    assert few.reason == "150 requests are too few for p95 (72 in each process), p99 (368)"


def test_clients_share_the_requests_and_each_waits_for_its_answer():
    seen, working, most = [], 0, 0
    lock = threading.Lock()

    def answer(number):
        nonlocal working, most
        with lock:
            seen.append(number)
            working += 1
            most = max(most, working)
        time.sleep(0.005)
        with lock:
            working -= 1

    found = serve_closed_loop(2, 20, answer)
    assert sorted(seen) == list(range(20))
    assert most == 2
    assert len(found.latencies_ms) == 20
    summary = closed_loop(2, [found.latencies_ms], [found.elapsed_s])
    assert summary.per_s == pytest.approx(20 / found.elapsed_s)
    assert summary.low_per_s is None
    assert summary.p50_ms >= 5


def test_an_error_of_an_answer_ends_the_loop():
    with pytest.raises(ValueError, match="no such text"):
        serve_closed_loop(2, 4, lambda number: (_ for _ in ()).throw(ValueError("no such text")))
