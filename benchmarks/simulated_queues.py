"""Simulate requests that wait in a queue, and how often the intervals of served requests cover the truth."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kdbench.measure.serving import REQUESTS, open_loop

SPREAD = 0.3
"""The standard deviation of the log of a service, whose mean is 1 s."""
BETWEEN = 0.03
"""That over processes of all of a process's services."""
_RUNS_FOR_THE_TRUTH = 20_000


def simulate(rng: np.random.Generator, runs: int, load: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the latencies and the services (runs, requests), in ms, of a queue that a process serves from idle on."""
    services = rng.lognormal(-(SPREAD**2) / 2, SPREAD, (runs, REQUESTS))
    services *= np.exp(rng.normal(0, BETWEEN, runs))[:, None]
    arrivals = rng.exponential(1 / load, (runs, REQUESTS)).cumsum(axis=1)
    free = np.zeros(runs)
    latencies = np.empty_like(services)
    for number in range(REQUESTS):  # Lindley 1952: each request waits for the one before
        free = np.maximum(free, arrivals[:, number]) + services[:, number]
        latencies[:, number] = free - arrivals[:, number]
    return 1000 * latencies, 1000 * services


def coverage(rng: np.random.Generator, draws: int) -> Iterator[tuple[str, float, int]]:
    """Yield what is simulated, the share of intervals that cover the truth, and how many there were."""
    for load in (0.5, 0.8):
        runs, _ = simulate(rng, _RUNS_FOR_THE_TRUTH, load)
        truth = {
            percent: np.exp(np.log(np.percentile(runs, percent, axis=1, method="median_unbiased")).mean())
            for percent in (50, 95)
        }
        for processes in (3, 5):
            covered: dict[int, list[bool]] = {percent: [] for percent in truth}
            for _ in range(draws):
                latencies, services = simulate(rng, processes, load)
                found = open_loop(load, latencies.tolist(), services.tolist())
                for percent, hits in covered.items():
                    low, high = (getattr(found, f"p{percent}_{end}_ms") for end in ("low", "high"))
                    if low is not None and high is not None:  # some runs are beyond capacity
                        hits.append(low <= truth[percent] <= high)
            for percent, hits in covered.items():
                yield (
                    f"p{percent} at {load:g} of the capacity, {processes} processes",
                    float(np.mean(hits)),
                    len(hits),
                )
