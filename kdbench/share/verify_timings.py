"""Recompute the figures of a timing from the calls that it contains."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from kdbench.budgets import BackEnd
from kdbench.measure.timing import MAIN, Size
from kdbench.measure.timing_summary import Calls, References, summarize
from kdbench.results.timings import BackEndTiming, Point, Timing
from kdbench.utils.files import JsonModel

_TOLERANCE = 0.005
"""The share by which a figure may differ: calls are stored with four digits after the point."""
_MOST_CALLS = 1_000_000
"""Of more, hundreds of resamples would take minutes."""
_SPEEDUPS = {name for name in Point.model_fields if "speedup" in name}
"""Need the teacher's calls."""


def too_many_calls(timing: Timing) -> bool:
    """Return whether a timing has more calls than `recomputed` can resample."""
    points = [point for back_ends in _back_ends(timing) for one in back_ends for point in one.points]
    calls = sum(len(calls) for point in points for calls in point.calls_ms)
    return calls + (timing.serving.requests if timing.serving else 0) > _MOST_CALLS


def recomputed(timing: Timing, teachers: Collection[str]) -> Iterator[str]:
    """Yield one line per figure of `timing` that its calls do not give; `teachers` are the keys of teachers' rows."""
    teacher = next((model.back_ends for model in timing.models if model.key in teachers), timing.teacher)
    references = {one.back_end: _calls(one) for one in teacher}
    for model in timing.models:
        for one in model.back_ends:
            for size, calls in _calls(one).items():
                point = next(point for point in one.points if _size(point) == size)
                inputs = timing.inputs if size == MAIN else 1
                expected = summarize(calls, _references(references, one.back_end, size, calls), size, inputs)
                place = f"{model.key}, {one.back_end}, batch {point.batch_size}"
                left_out = {"calls_ms", "reason"} | (set() if references else _SPEEDUPS)
                yield from (f"{line} ({place})" for line in differences(point, expected, left_out))


def _back_ends(timing: Timing) -> Iterator[tuple[BackEndTiming, ...]]:
    yield from (model.back_ends for model in timing.models)
    yield timing.teacher


def _size(point: Point) -> Size:
    return Size(point.batch_size, point.length, point.threads)


def _calls(timing: BackEndTiming) -> dict[Size, Calls]:
    return {_size(point): point.calls_ms for point in timing.points if any(point.calls_ms)}


def _references(
    teacher: Mapping[BackEnd, Mapping[Size, Calls]], back_end: BackEnd, size: Size, calls: Calls
) -> References:
    eager = teacher.get(BackEnd.TORCH, {}).get(size, [() for _ in calls])
    return References(teacher.get(back_end.runtime, {}).get(size), eager)


def differences(stored: JsonModel, expected: JsonModel, left_out: set[str]) -> Iterator[str]:
    """Yield one line per figure that is stored, or expected, and is not the other; those `left_out` are not compared."""
    for name, figure in stored.model_dump(exclude=left_out).items():
        value = getattr(expected, name)
        if figure is None and value is None:
            continue
        if figure is None or value is None or abs(figure - value) > _TOLERANCE * abs(value):
            yield f"{name} is {figure}, but {value} when recomputed from the calls"
