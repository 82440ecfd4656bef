"""The latency of one model for the page: back end by back end, batch by batch, length by length."""

from __future__ import annotations

from typing import Any

from kdbench.board import formatting
from kdbench.timings import BackEndTiming, ModelTiming, Point

TASK_LENGTH = "the task's own"


def latency_grid(timing: ModelTiming | None) -> list[dict[str, Any]] | None:
    """Return for each back end why it did not run, or its points as texts; None where nothing was timed."""
    if timing is None:
        return None
    return [
        {
            "back_end": f"{timed.back_end} on {timed.device}{_unsteady(timed)}",
            "reason": timed.reason,
            "points": [_point(point) for point in timed.points],
        }
        for timed in timing.back_ends
    ]


def _unsteady(timed: BackEndTiming) -> str:
    calls = timed.unsteady_after
    return "" if calls is None else f" (not stable yet after {calls} calls of warming up)"


def _point(point: Point) -> list[str]:
    return [
        str(point.batch_size),
        TASK_LENGTH if point.length is None else str(point.length),
        *(formatting.milliseconds(ms) for ms in (point.p50_ms, point.p90_ms, point.p95_ms, point.p99_ms)),
        formatting.count(point.throughput_per_s),
        formatting.ratio(point.speedup),
        str(point.calls),
    ]
