"""Simulate timings whose truth is known, and how often the intervals of the latency phase cover it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kdbench.stats.hierarchical import (
    LogStatistic,
    log_mean_ratio,
    log_median,
    log_median_ratio,
    log_percentile,
    log_percentile_ratio,
    process_interval,
)

RATIO = 2.0
MEDIAN_MS = 10.0
LENGTHS = 0.3
"""The standard deviation of the log of an input's time."""
NOISE = 0.03
"""That of a call around its input's time."""


@dataclass(frozen=True)
class Phase:
    """How calls are made."""

    processes: int
    calls: int
    """Per process."""
    inputs: int
    between: float
    """The standard deviation over processes of the log of a model's time."""
    correlation: float = 0.0
    """Of the noise of neighbouring rounds."""


def simulate(rng: np.random.Generator, phase: Phase) -> list[np.ndarray]:
    """Return (2, calls) per process: a teacher of `MEDIAN_MS` / `RATIO` in the second place, and a slower model."""
    processes = []
    for _ in range(phase.processes):
        inputs = rng.normal(0, LENGTHS if phase.inputs > 1 else 0, phase.inputs)
        noise = rng.normal(0, NOISE, (2, phase.calls))
        for i in range(1, phase.calls):
            noise[:, i] = (
                phase.correlation * noise[:, i - 1] + np.sqrt(1 - phase.correlation**2) * noise[:, i]
            )
        logs = inputs[np.arange(phase.calls) % phase.inputs] + noise + rng.normal(0, phase.between, (2, 1))
        processes.append(np.exp(logs + np.log([[MEDIAN_MS], [MEDIAN_MS / RATIO]])))
    return processes


def coverage(rng: np.random.Generator, draws: int) -> Iterator[tuple[str, float, int]]:
    """Yield the name, the share of intervals that cover the truth, and the draws, of each simulation."""
    p95 = float(np.exp(1.6449 * np.hypot(LENGTHS, NOISE)))
    main: dict[str, tuple[LogStatistic, float]] = {
        "speed-up": (log_median_ratio, RATIO),
        "p50": (log_median, MEDIAN_MS),
        "p95": (log_percentile(95), MEDIAN_MS * p95),
        "speed-up at p95": (log_percentile_ratio(95), RATIO),
    }
    grid = {
        "speed-up": (log_median_ratio, RATIO),
        "p50": (log_median, MEDIAN_MS),
        "throughput": (log_mean_ratio, RATIO),
    }
    shapes = [
        (f"{processes} processes of {calls} calls, {inputs} inputs each, differing by {between:.0%}{rounds}", main,
         Phase(processes, calls, inputs, between, correlation))
        for processes, calls, inputs in ((5, 60, 30), (3, 26, 13))
        for between in (0.0, 0.02)
        for correlation, rounds in ((0.0, ""), (0.6, ", rounds correlated"))
    ]  # fmt: skip
    shapes += [
        (f"{count} processes of {calls} calls of one batch, differing by {between:.0%}", grid, Phase(count, calls, 1, between))
        for count, calls in ((5, 1), (5, 2), (10, 3))
        for between in (0.0, 0.04)
    ]  # fmt: skip
    for correlation, rounds in ((0.0, ""), (0.6, ", rounds correlated")):
        shapes.append(
            (f"one process of 100 calls, 50 inputs{rounds}", main, Phase(1, 100, 50, 0, correlation))
        )
    for name, statistics, phase in shapes:
        covered: dict[str, list[bool]] = {of: [] for of in statistics}
        for draw in range(draws):
            processes = simulate(rng, phase)
            for of, (statistic, truth) in statistics.items():
                found = process_interval(processes, statistic, inputs=phase.inputs, seed=draw)
                if found.low is not None and found.high is not None:
                    covered[of].append(found.low <= truth <= found.high)
        for of, hits in covered.items():
            yield f"{of}, {name}", float(np.mean(hits)), len(hits)
