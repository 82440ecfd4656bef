"""From the calls of one model with one size of batch to the numbers that are told of them."""

from __future__ import annotations

import math

import numpy as np

from kdbench.results.timings import Point, Repeatability
from kdbench.stats import paired_ratio
from kdbench.utils.system import axis_seed

_PERCENTILES = (50, 90, 95, 99)
_MISSED = 0.025
PAIRS_OF_AN_INTERVAL = 20
"""Fewer pairs hold too few blocks for a bootstrap."""


def calls_needed(percentile: float) -> int:
    """Return the calls from which `percentile` is told: 6 for the median, 36 for p90, 72 for p95, 368 for p99.

    With n calls of which none reaches above a percentile p (a chance of p^n) nothing bounds it from above. It is told
    where that chance is at most 2.5%, which is where its distribution-free 95% interval ends within the sample (David &
    Nagaraja 2003, Order Statistics, section 7.1).
    """
    return math.ceil(math.log(_MISSED) / math.log(percentile / 100))


def summarize(
    calls_ms: np.ndarray, reference_ms: np.ndarray, *, batch_size: int, length: int | None
) -> Point:
    """Return what `calls_ms`, ``(calls,)``, tell beside the teacher's in the same rounds.

    Args:
        calls_ms: milliseconds of this model's calls.
        reference_ms: milliseconds of the teacher's; those of the first rounds are the pairs.
        batch_size: sentences a call.
        length: word pieces of each sentence; None where they differ.
    """
    calls = len(calls_ms)
    told = [percentile for percentile in _PERCENTILES if calls >= calls_needed(percentile)]
    values: dict[str, float | None] = {
        f"p{percentile}_ms": float(np.percentile(calls_ms, percentile)) for percentile in told
    }
    missing = [
        f"p{percentile} ({calls_needed(percentile)})" for percentile in _PERCENTILES if percentile not in told
    ]
    pairs = reference_ms[:calls]
    if calls >= PAIRS_OF_AN_INTERVAL:
        speedup = paired_ratio(pairs, calls_ms, seed=axis_seed(0, "latency intervals"))
        values |= {"speedup": speedup.ratio, "speedup_low": speedup.low, "speedup_high": speedup.high}
    else:
        values["speedup"] = float(np.median(pairs / calls_ms))
        missing.append(f"the interval of the speed-up ({PAIRS_OF_AN_INTERVAL})")
    return Point(
        batch_size=batch_size,
        length=length,
        calls=calls,
        throughput_per_s=1000 * batch_size * calls / float(calls_ms.sum()),
        reason=f"{calls} calls are too few for {', '.join(missing)}" if missing else None,
        **values,
    )


_TOLERANCE = 0.02
"""What warming up takes for stable: less is no reason for doubt."""
_DRIFT = 0.1
"""Of the teacher's median between the halves: above it milliseconds depend on when they were taken."""


def repeatability(teacher_ms: np.ndarray, again_ms: np.ndarray, inputs: int) -> Repeatability:
    """Return how far two timings of one teacher in the same rounds agree.

    Args:
        teacher_ms: milliseconds of the teacher's calls, ``(calls,)``.
        again_ms: those of the same weights loaded a second time, ``(as many or fewer,)``.
        inputs: how many inputs take turns; the halves that are held against each other answer all of them equally often.
    """
    pairs = teacher_ms[: len(again_ms)]
    ratio = paired_ratio(pairs, again_ms, seed=axis_seed(0, "latency intervals"))
    assert ratio.low is not None
    assert ratio.high is not None
    half = inputs * (len(teacher_ms) // 2 // inputs)
    first, second = np.median(teacher_ms[:half]), np.median(teacher_ms[half : 2 * half])
    return Repeatability(
        ratio=ratio.ratio, low=ratio.low, high=ratio.high, split_half=float(second / first - 1)
    )


def repeatability_warning(measured: Repeatability) -> str | None:
    """Return what a reader must know where the teacher was not as fast as itself, or None."""
    told = []
    if not measured.low <= 1 <= measured.high and abs(measured.ratio - 1) > _TOLERANCE:
        told.append(
            f"the teacher timed twice was {measured.ratio:.3f}x as fast as itself ({measured.low:.3f} to "
            f"{measured.high:.3f}): smaller differences of speed-up mean nothing"
        )
    if abs(measured.split_half) > _DRIFT:
        told.append(
            f"the teacher's median moved by {measured.split_half:+.0%} from the first half of the rounds to the second: "
            "milliseconds hold no better than that, speed-ups are of pairs"
        )
    return "; ".join(told) or None
