"""Send a model requests, by open and closed loops, and summarize its latencies."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
from pydantic import BaseModel

from kdbench.measure.timing_summary import calls_needed
from kdbench.results.serving import ClosedLoop, OpenLoop
from kdbench.stats.bootstrap import Floats
from kdbench.stats.hierarchical import Processes, log_mean, log_median, log_percentile, process_interval
from kdbench.utils.system import axis_seed

LOADS = (0.5, 0.8, 1.6)
"""The rates of the open loop, as shares of the teacher's capacity: at the last only faster models keep up."""
CLIENTS = (1, 2, 4)
"""The clients of the closed loops."""
REQUESTS = 124
"""Of each loop and process: a p95 needs 72 of each, a p99 368, which three processes have together."""
SECONDS = 16.0
"""The most that the arrivals of one process take, at all rates; where they would take longer, there are fewer."""
FULL = 0.95
"""The utilization from which on a rate counts as beyond capacity.

At 1 a queue grows without bound (Asmussen 2003, Applied Probability and Queues, chapter X). Just below, it needs a number
of services of the order of 1 / (1 - utilization)² to forget how it began: at 0.95 more than a loop has.
"""
_PATIENCE = 2.0
"""A loop that takes longer than its arrivals by this factor is ended: its model is far beyond capacity."""

Answer = Callable[[int], object]
"""Answers the request of this number."""


class LoopClock(Protocol):
    """The time of a loop, in seconds."""

    def now(self) -> float:
        """Return the time."""

    def wait_until(self, moment: float) -> None:
        """Return at `moment`, or at once where it is over."""


class MonotonicClock:
    """The system's clock; it waits asleep, as a server does, so that waking up is a part of a request's latency."""

    def now(self) -> float:
        """Return the seconds of the monotonic clock."""
        return time.perf_counter()

    def wait_until(self, moment: float) -> None:
        """Sleep until `moment`."""
        time.sleep(max(0.0, moment - self.now()))


class Served(BaseModel):
    """The requests of one loop in one process."""

    latencies_ms: list[float] = []
    services_ms: list[float] = []
    """Without the wait in the queue; none in a closed loop, where nothing waits."""
    elapsed_s: float = 0.0


class ServeOrder(BaseModel):
    """What one fresh process serves."""

    folder: Path
    """That of an exported model."""
    plugins: list[str]
    texts: list[str | tuple[str, str]]
    """Request i asks for text i, and from the first on again where there are more requests."""
    clients: tuple[int, ...] = CLIENTS
    rates_per_s: tuple[float, ...] = ()
    requests: int = REQUESTS
    """Of each loop."""
    seed: int = 0
    """Of the arrivals."""
    report_file: Path


class ServeReport(BaseModel):
    """What one fresh process measured of itself; seconds and bytes are as in `Start`."""

    imports_s: float
    load_s: float
    answer_s: float
    rest_bytes: int | None
    loading_peak_bytes: int | None
    batch_length: int
    batch_peak_bytes: int | None
    closed: list[Served]
    """One per number of clients."""
    open: list[Served]
    """One per rate."""


def rates_of(capacity_per_s: float) -> tuple[float, ...]:
    """Return the rates of the open loops, in two digits: what is printed is what was sent."""
    return tuple(float(f"{load * capacity_per_s:.2g}") for load in LOADS)


def requests_within(rates: Iterable[float], requests: int = REQUESTS, seconds: float = SECONDS) -> int:
    """Return how many requests at each of `rates` per second fit into the `seconds` of a process; `requests` at most."""
    return max(1, min(requests, int(seconds / sum(1 / rate for rate in rates))))


def poisson_arrivals(rate_per_s: float, requests: int, seed: int) -> np.ndarray:
    """Return the times of arrival (requests,), in seconds, of a Poisson process: gaps are exponential and independent.

    So are those of the server scenario of MLPerf Inference (Reddi et al. 2020).
    """
    gaps = np.random.default_rng(axis_seed(seed, "arrivals")).exponential(1 / rate_per_s, requests)
    return np.cumsum(gaps)


def serve_open_loop(arrivals: Sequence[float], answer: Answer, clock: LoopClock) -> Served:
    """Answer requests one after the other, first come, first served, and return what each took.

    The latency of a request runs from its scheduled arrival, whenever the model got to it. Were it timed from there,
    requests that an earlier one delays would not be seen to wait: coordinated omission (Tene 2015, "How NOT to measure
    latency"). There is one model, so that this thread needs no queue: a request waits by being late.
    """
    served = Served()
    started = clock.now()
    for number, arrival in enumerate(arrivals):
        due = started + arrival
        clock.wait_until(due)
        begun = clock.now()
        answer(number)
        ended = clock.now()
        served.latencies_ms.append((ended - due) * 1000)
        served.services_ms.append((ended - begun) * 1000)
        if ended - started > _PATIENCE * arrivals[-1]:
            break
    served.elapsed_s = clock.now() - started
    return served


def serve_closed_loop(clients: int, requests: int, answer: Answer) -> Served:
    """Let `clients` threads answer `requests` together, each one request after the other without a pause."""
    served = Served()
    numbers = iter(range(requests))
    taking = threading.Lock()

    def client() -> None:
        while True:
            with taking:
                number = next(numbers, None)
            if number is None:
                return
            begun = time.perf_counter()
            answer(number)
            served.latencies_ms.append((time.perf_counter() - begun) * 1000)

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        for ended in [threads.submit(client) for _ in range(clients)]:
            ended.result()
    served.elapsed_s = time.perf_counter() - started
    return served


Milliseconds = Sequence[Sequence[float]]
"""Per process the times of requests."""


def open_loop(rate_per_s: float, latencies_ms: Milliseconds, services_ms: Milliseconds) -> OpenLoop:
    """Summarize the requests that came at `rate_per_s`, of all processes."""
    mean_ms = float(np.mean(list(itertools.chain(*services_ms))))
    utilization = rate_per_s * mean_ms / 1000
    if utilization < FULL:
        figures, reason = _percentiles(latencies_ms)
    else:
        figures = {}
        reason = (
            f"beyond capacity: a request takes {mean_ms:.3g} ms of service, so that {rate_per_s:g} per second need"
            f" {utilization:.0%} of the time"
        )
    return OpenLoop(
        rate_per_s=rate_per_s,
        utilization=utilization,
        is_beyond_capacity=utilization >= FULL,
        requests=sum(map(len, latencies_ms)),
        latencies_ms=_rounded(latencies_ms),
        services_ms=_rounded(services_ms),
        reason=reason,
        **figures,
    )


def closed_loop(clients: int, latencies_ms: Milliseconds, elapsed_s: Sequence[float]) -> ClosedLoop:
    """Summarize the requests of `clients`, of all processes."""
    figures, reason = _percentiles(latencies_ms)
    gaps = [
        np.array([[seconds / len(own)]]) for own, seconds in zip(latencies_ms, elapsed_s, strict=True) if own
    ]
    gap = process_interval(gaps, log_mean, inputs=1)
    return ClosedLoop(
        clients=clients,
        requests=sum(map(len, latencies_ms)),
        per_s=1 / gap.value,
        low_per_s=None if gap.high is None else 1 / gap.high,
        high_per_s=None if gap.low is None else 1 / gap.low,
        elapsed_s=tuple(round(seconds, 7) for seconds in elapsed_s),
        latencies_ms=_rounded(latencies_ms),
        reason=reason,
        **figures,
    )


def _log_p95(processes: Processes) -> Floats:
    """Return the log of the p95: the mean over processes of each one's."""
    logs = [log_percentile(95)([calls]) for calls in processes]
    mean: Floats = np.mean(logs, axis=0)
    return mean


def _percentiles(latencies_ms: Milliseconds) -> tuple[dict[str, float | None], str | None]:
    """Return the percentiles with their intervals by field, and which of them so few requests do not give.

    The waits of neighbouring requests depend on each other over many requests, and processes differ. So a process, which has
    arrivals of its own, is one replication of a run that begins idle and ends: its percentile is one observation, and
    the interval of their mean is Student's t (Law 2015, Simulation Modeling and Analysis, section 9.4). One process has
    none. A p99 needs more requests than a process answers, and of all together it hangs on one or two queues that a few
    long gaps decided: it is told without an interval.
    """
    own = [np.array([ms]) for ms in latencies_ms if ms]
    count, least = sum(map(len, latencies_ms)), min(calls.shape[-1] for calls in own)
    values: dict[str, float | None] = {}
    missing = []
    for percent, statistic in {50: log_median, 95: _log_p95}.items():
        if least < calls_needed(percent):
            missing.append(f"p{percent} ({calls_needed(percent)} in each process)")
            continue
        found = process_interval(own, statistic, inputs=1)
        names = (f"p{percent}_ms", f"p{percent}_low_ms", f"p{percent}_high_ms")
        values |= dict(zip(names, (found.value, found.low, found.high), strict=True))
    if count < calls_needed(99):
        missing.append(f"p99 ({calls_needed(99)})")
    else:
        values["p99_ms"] = float(np.exp(log_percentile(99)(own)))
    return values, f"{count} requests are too few for {', '.join(missing)}" if missing else None


def _rounded(latencies_ms: Milliseconds) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(float(ms), 4) for ms in own) for own in latencies_ms)
