"""How well a latency phase repeats itself."""

from __future__ import annotations

import numpy as np

from kdbench.seeds import axis_seed
from kdbench.stats import paired_ratio
from kdbench.timings import Repeatability

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
