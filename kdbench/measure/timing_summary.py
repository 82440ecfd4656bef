"""Summarize the times of calls: percentiles, throughput, speed-ups, and the repeatability of the phase."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.budgets import BackEnd
from kdbench.measure.timing import MAIN, Size
from kdbench.results.timings import (
    BackEndTiming,
    Best,
    ModelTiming,
    Point,
    Repeatability,
    Speed,
    Throughput,
)
from kdbench.stats.bootstrap import Estimate, Floats
from kdbench.stats.hierarchical import (
    MIN_INPUTS,
    LogStatistic,
    log_mean,
    log_mean_ratio,
    log_median,
    log_median_ratio,
    log_percentile,
    log_percentile_ratio,
    process_interval,
)
from kdbench.utils.system import axis_seed

_PERCENTILES = (50, 90, 95, 99)
_MAX_UNBOUNDED = 0.025
_MIN_PROCESSES = 3
"""Processes from which on a median is reported, however few calls each has made."""


def calls_needed(percentile: float) -> int:
    """Return the calls needed to report `percentile`: 6 for the median, 36 for p90, 72 for p95, 368 for p99.

    If none of n calls exceeds a percentile p (a chance of p^n), the sample does not bound it from above. It is reported
    where that chance is at most 2.5%, so that its distribution-free 95% interval lies within the sample (David &
    Nagaraja 2003, Order Statistics, section 7.1).
    """
    return math.ceil(math.log(_MAX_UNBOUNDED) / math.log(percentile / 100))


Calls = Sequence[Sequence[float]]
"""Per process the milliseconds of calls of one size, in the order of the rounds; empty for a process without."""


@dataclass(frozen=True)
class References:
    """The calls of the same size that a model's are compared with."""

    runtime: Calls | None
    """Of the teacher in the same runtime, in float32; None where it has none."""
    eager: Calls
    """Of the teacher in PyTorch's eager mode."""


def summarize(calls: Calls, references: References, size: Size, inputs: int) -> Point:
    """Summarize a model's `calls` of one size, and compare them with those of the teacher in the same rounds.

    `inputs` is how many take turns in a process.
    """
    own = [np.array([ms]) for ms in calls if len(ms)]
    count = sum(map(len, calls))
    reported = {
        percent
        for percent in _PERCENTILES
        if count >= calls_needed(percent) or (percent == 50 and len(own) >= _MIN_PROCESSES)
    }
    missing = [f"p{percent} ({calls_needed(percent)})" for percent in _PERCENTILES if percent not in reported]
    values: dict[str, float | None] = {}
    if 50 in reported:
        values |= _named("p50{}_ms", _estimate(own, log_median, inputs))
    if 90 in reported:
        values["p90_ms"] = math.exp(float(log_percentile(90)(own)))
    if 95 in reported:
        values |= _named("p95{}_ms", _estimate(own, log_percentile(95), inputs))
    if 99 in reported:
        values["p99_ms"] = math.exp(float(log_percentile(99)(own)))
    values |= _named("throughput{}_per_s", per_second(_estimate(own, log_mean, inputs), size.batch_size))
    values |= _named("eager_speedup{}", compare(calls, references.eager, log_median_ratio, inputs))
    reasons = [f"{count} calls are too few for {', '.join(missing)}"] if missing else []
    if references.runtime is None:
        reasons.append("the teacher does not run in this runtime, so that there is no speed-up within it")
    else:
        values |= _named("speedup{}", compare(calls, references.runtime, log_median_ratio, inputs))
        if 95 in reported:
            at_p95 = compare(calls, references.runtime, log_percentile_ratio(95), inputs)
            values |= _named("p95_speedup{}", at_p95)
    if len(own) == 1 and min(inputs, count) < MIN_INPUTS:
        reasons.append(f"one process needs {MIN_INPUTS} inputs for an interval")
    return Point(
        batch_size=size.batch_size,
        length=size.length,
        threads=size.threads,
        calls=count,
        calls_ms=tuple(tuple(round(float(ms), 4) for ms in of_process) for of_process in calls),
        reason="; ".join(reasons) or None,
        **values,
    )


def compare(calls: Calls, reference: Calls, statistic: LogStatistic, inputs: int) -> Estimate | None:
    """Return how many times as fast `calls` are as those of the `reference` in the same rounds.

    None where no process has both.
    """
    pairs = [
        np.array([slow[: len(fast)], fast[: len(slow)]])
        for slow, fast in zip(reference, calls, strict=True)
        if len(slow) and len(fast)
    ]
    return _estimate(pairs, statistic, inputs) if pairs else None


def _estimate(processes: list[Floats], statistic: LogStatistic, inputs: int) -> Estimate:
    return process_interval(processes, statistic, inputs=inputs, seed=axis_seed(0, "latency intervals"))


def per_second(mean_ms: Estimate, batch_size: int) -> Estimate:
    """Return the sentences per second, whose bounds are those of the mean time of a call, exchanged."""
    low, value, high = (
        None if ms is None else 1000 * batch_size / ms for ms in (mean_ms.high, mean_ms.value, mean_ms.low)
    )
    assert value is not None
    return Estimate(value, low, high)


def _named(pattern: str, found: Estimate | None) -> dict[str, float | None]:
    """Return the value and its bounds by the names that `pattern` makes with ``_low`` and ``_high``."""
    if found is None:
        return {}
    return {
        pattern.format(""): found.value,
        pattern.format("_low"): found.low,
        pattern.format("_high"): found.high,
    }


BySize = Mapping[Size, Calls]


def throughput_of(own: BySize, teacher: BySize | None, inputs: int) -> Throughput | None:
    """Return the throughput with the best of the batch sizes that were timed on all cores; None where none was.

    `teacher` has its calls in the same runtime, compared at its own best size.
    """
    best = best_batch(own)
    if best is None:
        return None
    calls = own[best]
    processes = [np.array([ms]) for ms in calls if len(ms)]
    found = per_second(_estimate(processes, log_mean, inputs), best.batch_size)
    speedup = None if teacher is None else batch_speedup(own, teacher, inputs)
    return Throughput(
        batch_size=best.batch_size,
        per_s=found.value,
        low_per_s=found.low,
        high_per_s=found.high,
        **_named("speedup{}", speedup),
    )


def best_batch(by_size: BySize) -> Size | None:
    """Return the size on all cores with the most sentences per second."""
    sizes = [size for size in by_size if size.length is None and size.batch_size > 1 and any(by_size[size])]

    def rate(size: Size) -> float:
        return size.batch_size / float(np.mean(np.concatenate([np.asarray(ms) for ms in by_size[size]])))

    return max(sizes, key=rate, default=None)


def batch_speedup(own: BySize, other: BySize, inputs: int) -> Estimate | None:
    """Return how many times the sentences per second of `other` a model answers, each with its best batch size."""
    mine, theirs = best_batch(own), best_batch(other)
    if mine is None or theirs is None:
        return None
    found = compare(own[mine], other[theirs], log_mean_ratio, inputs)
    if found is None:
        return None
    scale = mine.batch_size / theirs.batch_size
    return Estimate(*(None if end is None else end * scale for end in (found.value, found.low, found.high)))  # type: ignore[arg-type]


ByBackEnd = Mapping[BackEnd, BySize]


@dataclass(frozen=True)
class Teacher:
    """The teacher in each of its back ends."""

    back_ends: Sequence[BackEndTiming]
    calls: ByBackEnd
    offered: Collection[BackEnd]
    """The back ends in which all models are timed: only in these and in a model's own has it a time to compare."""

    def fastest_beside(self, model: BackEndTiming, speed: Speed) -> BackEnd | None:
        """Return the back end in which it is fastest, of those offered and the runtime of `model`."""
        allowed = {*self.offered, model.back_end.runtime}
        found = fastest([timing for timing in self.back_ends if timing.back_end in allowed], speed)
        return None if found is None else found.back_end


def best_back_ends(own: ModelTiming, calls: ByBackEnd, teacher: Teacher, inputs: int) -> tuple[Best, ...]:
    """Return for each kind of speed the back end in which a model is fastest, compared with the teacher in its fastest."""

    def over(speed: Speed, back_end: BackEnd, reference: BackEnd | None) -> Estimate | None:
        if reference is None:
            return None
        fast, slow = calls[back_end], teacher.calls[reference]
        if speed is Speed.THROUGHPUT:
            return batch_speedup(fast, slow, 1)
        statistic = log_median_ratio if speed is Speed.SINGLE else log_percentile_ratio(95)
        return compare(fast[MAIN], slow[MAIN], statistic, inputs)

    bests = []
    for speed in Speed:
        mine = fastest(own.back_ends, speed)
        if mine is None:
            continue
        speedup = over(speed, mine.back_end, teacher.fastest_beside(mine, speed))
        eager = over(speed, mine.back_end, teacher.back_ends[0].back_end)
        value, low, high = _speed_of(mine, speed)
        assert value is not None
        bests.append(
            Best(
                speed=speed,
                back_end=mine.back_end,
                value=value,
                low=low,
                high=high,
                **_named("speedup{}", speedup),
                **_named("eager_speedup{}", eager),
            )
        )
    return tuple(bests)


def fastest(back_ends: Sequence[BackEndTiming], speed: Speed) -> BackEndTiming | None:
    """Return the fastest of a model's `back_ends` that give the artifact's own answers; None where none was timed.

    An export with 8-bit weights answers differently, and what it scores is known only roughly: it is a model of its
    own (the row ``…+int8``).
    """
    timed = [
        timing
        for place, timing in enumerate(back_ends)
        if (place == 0 or timing.back_end.runtime is timing.back_end)
        and _speed_of(timing, speed)[0] is not None
    ]

    def cost(timing: BackEndTiming) -> float:
        value = _speed_of(timing, speed)[0]
        assert value is not None
        return -value if speed is Speed.THROUGHPUT else value

    return min(timed, key=cost, default=None)


def _speed_of(timing: BackEndTiming, speed: Speed) -> tuple[float | None, float | None, float | None]:
    """Return a speed with its interval."""
    if not timing.points:
        return None, None, None
    main, batches = timing.points[0], timing.throughput
    if speed is Speed.SINGLE:
        return main.p50_ms, main.p50_low_ms, main.p50_high_ms
    if speed is Speed.P95:
        return main.p95_ms, main.p95_low_ms, main.p95_high_ms
    return (None, None, None) if batches is None else (batches.per_s, batches.low_per_s, batches.high_per_s)


_TOLERANCE = 0.02
"""The tolerance of the warm-up: smaller deviations are no reason for a warning."""
_DRIFT = 0.1
"""A change of the teacher's median between the halves above which milliseconds depend on when they were measured."""


def repeatability(teacher: Calls, again: Calls, inputs: int) -> Repeatability:
    """Return how well two timings of the same teacher in the same rounds agree.

    Args:
        teacher: of each process, the teacher's milliseconds.
        again: those of the same weights loaded a second time, as many or fewer.
        inputs: how many inputs take turns; the halves that are compared answer each of them equally often.
    """
    ratio = compare(again, teacher, log_median_ratio, inputs)
    assert ratio is not None
    moved = []
    for ms in teacher:
        half = inputs * max(1, len(ms) // 2 // inputs)
        moved.append(np.log(np.median(ms[half : 2 * half]) / np.median(ms[:half])))
    return Repeatability(
        ratio=ratio.value, low=ratio.low, high=ratio.high, split_half=float(np.expm1(np.mean(moved)))
    )


def repeatability_warning(measured: Repeatability) -> str | None:
    """Return a warning where the two timings of the teacher differ, or its time drifted, else None."""
    warnings = []
    low, high = measured.low, measured.high
    if low is not None and high is not None and not low <= 1 <= high and abs(measured.ratio - 1) > _TOLERANCE:
        warnings.append(
            f"the teacher timed twice was {measured.ratio:.3f}x as fast as itself ({low:.3f} to "
            f"{high:.3f}): smaller differences in speed-up are not meaningful"
        )
    if abs(measured.split_half) > _DRIFT:
        warnings.append(
            f"the teacher's median moved by {measured.split_half:+.0%} from the first half of the rounds to the second: "
            "milliseconds are no more precise than that, speed-ups come from paired calls"
        )
    return "; ".join(warnings) or None
