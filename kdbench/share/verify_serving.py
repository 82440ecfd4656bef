"""Recompute the figures of served requests from the latencies that a timing contains, and find impossible ones."""

from __future__ import annotations

from collections.abc import Iterator

from kdbench.measure.serving import closed_loop, open_loop
from kdbench.results.serving import ClosedLoop, ModelServing, OpenLoop, Serving
from kdbench.share.verify_timings import differences


def impossible_in_serving(serving: Serving) -> Iterator[str]:
    """Yield one line per loop whose latencies no run can have measured."""
    for model in serving.models:
        for loop in model.loops:
            if not any(loop.latencies_ms) or any(
                not 0 < ms < _MOST for own in loop.latencies_ms for ms in own
            ):
                yield f"a loop has no request, or one that took no time or no end ({_place(model, loop)})"
            elif isinstance(loop, OpenLoop) and not _waits(loop):
                yield f"a request was answered in less time than its service took ({_place(model, loop)})"
            elif isinstance(loop, ClosedLoop) and (
                len(loop.elapsed_s) != len(loop.latencies_ms)
                or any(not 0 < taken < _MOST for taken in loop.elapsed_s)
            ):
                yield f"a process has no seconds for its requests ({_place(model, loop)})"


_ROUNDING_MS = 1e-3
_MOST = 1e9
"""Milliseconds, seconds or requests per second that nothing measured reaches."""


def _waits(loop: OpenLoop) -> bool:
    """Return whether every request has a time of service, and took no less."""
    if loop.rate_per_s > _MOST:
        return False
    if [len(own) for own in loop.latencies_ms] != [len(own) for own in loop.services_ms]:
        return False
    return all(
        latency >= service - _ROUNDING_MS and service > 0
        for latencies, services in zip(loop.latencies_ms, loop.services_ms, strict=True)
        for latency, service in zip(latencies, services, strict=True)
    )


def recomputed_serving(serving: Serving) -> Iterator[str]:
    """Yield one line per figure of `serving`, in which nothing is impossible, that its latencies do not give."""
    for model in serving.models:
        for loop in model.loops:
            expected = _again(loop)
            lines = differences(loop, expected, {"latencies_ms", "services_ms", "elapsed_s", "reason"})
            yield from (f"{line} ({_place(model, loop)})" for line in lines)


def _again(loop: OpenLoop | ClosedLoop) -> OpenLoop | ClosedLoop:
    if isinstance(loop, OpenLoop):
        return open_loop(loop.rate_per_s, loop.latencies_ms, loop.services_ms)
    return closed_loop(loop.clients, loop.latencies_ms, loop.elapsed_s)


def _place(model: ModelServing, loop: OpenLoop | ClosedLoop) -> str:
    load = f"{loop.rate_per_s:g} per second" if isinstance(loop, OpenLoop) else f"{loop.clients} clients"
    return f"{model.key}, served {load}"
