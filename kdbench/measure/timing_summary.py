"""Summarize the times of calls: percentiles, throughput, speed-up, and the repeatability of the phase."""

from __future__ import annotations

import math

import numpy as np

from kdbench.results.timings import Point, Repeatability
from kdbench.stats.intervals import paired_ratio
from kdbench.utils.system import axis_seed

_PERCENTILES = (50, 90, 95, 99)
_MAX_UNBOUNDED = 0.025
MIN_PAIRS = 20
"""The fewest pairs for an interval; fewer have too few blocks for a bootstrap."""


def calls_needed(percentile: float) -> int:
    """Return the calls needed to report `percentile`: 6 for the median, 36 for p90, 72 for p95, 368 for p99.

    If none of n calls exceeds a percentile p (a chance of p^n), the sample does not bound it from above. It is reported
    where that chance is at most 2.5%, so that its distribution-free 95% interval lies within the sample (David &
    Nagaraja 2003, Order Statistics, section 7.1).
    """
    return math.ceil(math.log(_MAX_UNBOUNDED) / math.log(percentile / 100))


def summarize(
    calls_ms: np.ndarray, reference_ms: np.ndarray, *, batch_size: int, length: int | None
) -> Point:
    """Summarize a model's calls, ``(calls,)``, and compare them with the teacher's first calls in the same rounds.

    `length` is the word pieces of each sentence, None where they differ.
    """
    calls = len(calls_ms)
    reported = [percentile for percentile in _PERCENTILES if calls >= calls_needed(percentile)]
    values: dict[str, float | None] = {
        f"p{percentile}_ms": float(np.percentile(calls_ms, percentile)) for percentile in reported
    }
    missing = [
        f"p{percentile} ({calls_needed(percentile)})"
        for percentile in _PERCENTILES
        if percentile not in reported
    ]
    pairs = reference_ms[:calls]
    if calls >= MIN_PAIRS:
        speedup = paired_ratio(pairs, calls_ms, seed=axis_seed(0, "latency intervals"))
        values |= {"speedup": speedup.value, "speedup_low": speedup.low, "speedup_high": speedup.high}
    else:
        values["speedup"] = float(np.median(pairs / calls_ms))
        missing.append(f"the interval of the speed-up ({MIN_PAIRS})")
    return Point(
        batch_size=batch_size,
        length=length,
        calls=calls,
        throughput_per_s=1000 * batch_size * calls / float(calls_ms.sum()),
        reason=f"{calls} calls are too few for {', '.join(missing)}" if missing else None,
        **values,
    )


_TOLERANCE = 0.02
"""The tolerance of the warm-up: smaller deviations are no reason for a warning."""
_DRIFT = 0.1
"""A change of the teacher's median between the halves above which milliseconds depend on when they were measured."""


def repeatability(teacher_ms: np.ndarray, again_ms: np.ndarray, inputs: int) -> Repeatability:
    """Return how well two timings of the same teacher in the same rounds agree.

    Args:
        teacher_ms: milliseconds of the teacher's calls, ``(calls,)``.
        again_ms: those of the same weights loaded a second time, ``(as many or fewer,)``.
        inputs: how many inputs take turns; the halves that are compared answer each of them equally often.
    """
    pairs = teacher_ms[: len(again_ms)]
    ratio = paired_ratio(pairs, again_ms, seed=axis_seed(0, "latency intervals"))
    assert ratio.low is not None
    assert ratio.high is not None
    half = inputs * (len(teacher_ms) // 2 // inputs)
    first, second = np.median(teacher_ms[:half]), np.median(teacher_ms[half : 2 * half])
    return Repeatability(
        ratio=ratio.value, low=ratio.low, high=ratio.high, split_half=float(second / first - 1)
    )


def repeatability_warning(measured: Repeatability) -> str | None:
    """Return a warning where the two timings of the teacher differ, or its time drifted, else None."""
    warnings = []
    if not measured.low <= 1 <= measured.high and abs(measured.ratio - 1) > _TOLERANCE:
        warnings.append(
            f"the teacher timed twice was {measured.ratio:.3f}x as fast as itself ({measured.low:.3f} to "
            f"{measured.high:.3f}): smaller differences in speed-up are not meaningful"
        )
    if abs(measured.split_half) > _DRIFT:
        warnings.append(
            f"the teacher's median moved by {measured.split_half:+.0%} from the first half of the rounds to the second: "
            "milliseconds are no more precise than that, speed-ups come from paired calls"
        )
    return "; ".join(warnings) or None
