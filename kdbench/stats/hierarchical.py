"""Compute confidence intervals of timings that were repeated in several processes (Kalibera & Jones 2013)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import scipy.stats

from kdbench.stats.bootstrap import TAILS, Estimate, Floats

Processes = Sequence[Floats]
"""Per process an array (…, k, calls): the times of k models in the same rounds, or of one."""
LogStatistic = Callable[[Processes], Floats]
"""Turns processes of (…, k, calls) into the logarithm (…) of what is estimated."""


def log_median(processes: Processes) -> Floats:
    """Return the log of the median time of a call: the mean over processes of each one's log median."""
    return _mean([np.log(np.median(calls[..., 0, :], axis=-1)) for calls in processes])


def log_median_ratio(processes: Processes) -> Floats:
    """Return the log of the median of the ratios, first model over second: the mean over processes of each one's."""
    ratios = (calls[..., 0, :] / calls[..., 1, :] for calls in processes)
    return _mean([np.log(np.median(ratio, axis=-1)) for ratio in ratios])


def log_percentile(percent: float) -> LogStatistic:
    """Return the log of a percentile of the calls of all processes together, which one process alone has too few for."""

    def statistic(processes: Processes) -> Floats:
        return _pooled_percentile(processes, 0, percent)

    return statistic


def log_percentile_ratio(percent: float) -> LogStatistic:
    """Return the log of the first model's percentile over the second's."""

    def statistic(processes: Processes) -> Floats:
        return _pooled_percentile(processes, 0, percent) - _pooled_percentile(processes, 1, percent)

    return statistic


def log_mean(processes: Processes) -> Floats:
    """Return the log of the mean time of a call: the mean over processes of each one's log mean."""
    return _mean([np.log(calls[..., 0, :].mean(axis=-1)) for calls in processes])


def log_mean_ratio(processes: Processes) -> Floats:
    """Return the log of the first model's mean time over the second's: the mean over processes of each one's."""
    means = (calls.mean(axis=-1) for calls in processes)
    return _mean([np.log(mean[..., 0] / mean[..., 1]) for mean in means])


def _mean(of_processes: list[Floats]) -> Floats:
    mean: Floats = np.mean(of_processes, axis=0)
    return mean


def _pooled_percentile(processes: Processes, place: int, percent: float) -> Floats:
    pooled = np.concatenate([calls[..., place, :] for calls in processes], axis=-1)
    # Median-unbiased whatever the distribution; numpy's default is too low in the tail (Hyndman & Fan 1996, type 8).
    found: Floats = np.log(np.percentile(pooled, percent, axis=-1, method="median_unbiased"))
    return found


RESAMPLES = 200
"""Enough for a standard deviation, within 5%."""
MIN_INPUTS = 10
"""The fewest inputs of a process for an estimate of the variance within processes."""


def process_interval(
    processes: Processes, statistic: LogStatistic, *, inputs: int, seed: int = 0
) -> Estimate:
    """Return the estimate of `statistic`, as a value and not a log, with its 95% interval.

    Where memory lies and how caches and clocks behave differs from process to process, and for a whole process: its
    calls agree better with each other than with those of the next one. So the process is a random effect, and an
    interval for other processes comes from how processes differ (Kalibera & Jones 2013, "Rigorous benchmarking in
    reasonable time"). Here that is the delete-one-process jackknife of the log, which for a mean over processes is
    their standard error, with Student's t of processes - 1 degrees of freedom. Each process answers inputs of
    its own, so that processes differ by the choice of inputs, too.

    Few processes may agree by chance. So an interval is never narrower than what differs within processes makes
    it: a bootstrap that draws each process's inputs with replacement, each with all of its calls, which are not
    independent (Davison & Hinkley 1997, section 3.8), and in runs of consecutive inputs, since what slows a machine lasts
    longer than a round (Kuensch 1989). Of one process that is all there is: the interval holds for that process. It is None where that process has too few
    inputs.

    In simulations (`benchmarks/simulated_calls.py`; 200 draws each) 95% intervals of five processes cover the truth in 93%
    to 99% of draws, of three in 92% to 100%. Those of one process with 50 inputs cover what holds for it in 93% to 98%, but
    where neighbouring rounds are correlated by 0.6 in 86% to 96%.

    Args:
        processes: (k, calls) each, above 0; call i answers input i modulo `inputs`.
        statistic: what is estimated.
        inputs: how many inputs take turns in a process.

    Raises:
        ValueError: there is no call, or a time is not above 0.
    """
    if not processes or any(not calls.size for calls in processes):
        raise ValueError("an interval needs calls of every process")
    if any(not np.all(calls > 0) for calls in processes):
        raise ValueError("times must be above 0")
    value = float(statistic(processes))
    within, df = _within(processes, statistic, inputs, np.random.default_rng(seed))
    if len(processes) == 1:
        if within is None:
            return Estimate(float(np.exp(value)), None, None)
        half = _t(df) * within
    else:
        half = _t(len(processes) - 1) * _between(processes, statistic)
        half = max(half, 0.0 if within is None else _t(np.inf) * within)
    return Estimate(*(float(np.exp(end)) for end in (value, value - half, value + half)))


def _t(df: float) -> float:
    return float(scipy.stats.t.ppf(TAILS[1], df))


def _between(processes: Processes, statistic: LogStatistic) -> float:
    """Return the standard error by the delete-one-process jackknife (Shao & Wu 1989: fit for percentiles, too)."""
    n = len(processes)
    without = np.array([float(statistic([*processes[:i], *processes[i + 1 :]])) for i in range(n)])
    return float(np.sqrt((n - 1) / n * np.square(without - without.mean()).sum()))


def _within(
    processes: Processes, statistic: LogStatistic, inputs: int, rng: np.random.Generator
) -> tuple[float | None, float]:
    """Return the standard error for these processes and its degrees of freedom; None of too few inputs."""
    distinct = min(inputs, *(calls.shape[-1] for calls in processes))
    if distinct < MIN_INPUTS:
        return None, 0
    drawn = []
    for calls in processes:
        indices = _call_indices(rng, calls.shape[-1], inputs)
        drawn.append(np.stack([row[indices] for row in calls], axis=-2))
    length = _block_length(distinct)
    # The mean of a block has less variance than the blocks would have if they were independent.
    lost = distinct / (distinct - length) if length > 1 else 1.0
    blocks = len(processes) * distinct / length
    return float(np.std(statistic(drawn)) * np.sqrt(lost)), max(1.0, blocks - 1)


def _block_length(inputs: int) -> int:
    """Return the order of the optimal length (Hall, Horowitz & Jing 1995), with a constant of 1."""
    return round(math.cbrt(inputs))


def _call_indices(rng: np.random.Generator, calls: int, inputs: int) -> np.ndarray:
    """Return (resamples, calls): the calls of runs of consecutive inputs, each with all calls of that input."""
    n = min(inputs, calls)
    length = _block_length(n)
    starts = rng.integers(n - length + 1, size=(RESAMPLES, -(-n // length)))
    drawn = (starts[:, :, None] + np.arange(length)).reshape(RESAMPLES, -1)[:, :n]
    index = drawn[:, None, :] + n * np.arange(-(-calls // n))[:, None]
    # The last pass may not have reached an input.
    index = np.where(index < calls, index, drawn[:, None, :])
    return index.reshape(RESAMPLES, -1)[:, :calls]
