"""Tell how the size and speed of a row changed between two sets of records."""

from __future__ import annotations

from collections.abc import Callable

from kdbench.board.frames import Row
from kdbench.board.rows import timed_cell
from kdbench.utils import formatting

_WORDING = 0.01
"""Changes of an artifact's size up to this share come from the wording of its configuration."""


def changed_costs(before: list[Row], after: list[Row]) -> tuple[str, ...]:
    """Return one phrase per cost that changed.

    Parameters and bytes are exact counts. A row counts as slower or faster only if both sides were timed on the same
    hardware, threads and batch, relative to the teacher of the same base model, and the intervals of the two speed-ups
    do not overlap: times of two days on one machine differ by more than most models do. Library versions may differ,
    since the effect of an upgrade on speed is of interest (`other_runtimes` reports it).
    """
    then, now = timed_cell(before), timed_cell(after)
    phrases = (
        _count(then, now, "total_parameters", "fewer parameters", "more parameters", "{:,}".format),
        _count(then, now, "artifact_bytes", "smaller", "larger", formatting.size, _WORDING),
        _speed(then, now),
    )
    return tuple(phrase for phrase in phrases if phrase)


def other_runtimes(before: list[Row], after: list[Row]) -> str | None:
    """Return which libraries changed version between timings on the same hardware; None where none did."""
    then, now = timed_cell(before), timed_cell(after)
    if not _same_hardware(then, now):
        return None
    versions, newer = then["latency_runtimes"], now["latency_runtimes"]
    changed = [
        f"{name} {versions.get(name, 'not recorded')} before and {newer.get(name, 'not recorded')} now"
        for name in sorted({*versions, *newer})
        if versions.get(name) != newer.get(name)
    ]
    return ", ".join(changed) or None


def _same_hardware(before: Row, after: Row) -> bool:
    return before["latency_hardware"] is not None and before["latency_hardware"] == after["latency_hardware"]


def _count(
    before: Row,
    after: Row,
    column: str,
    less: str,
    more: str,
    write: Callable[[int], str],
    noise: float = 0.0,
) -> str | None:
    """Return how a count changed by more than the share `noise`; None where it did not."""
    then, now = before[column], after[column]
    if then is None or now is None or abs(now - then) <= noise * then:
        return None
    return f"{more if now > then else less}: {write(then)} before, {write(now)} now"


def _speed(before: Row, after: Row) -> str | None:
    alike = _same_hardware(before, after) and before["weights_sha256"] == after["weights_sha256"]
    ends = [cell[name] for cell in (before, after) for name in ("speedup_low", "speedup_high")]
    if not alike or None in ends:
        return None
    low_then, high_then, low_now, high_now = ends
    if low_now <= high_then and low_then <= high_now:
        return None
    speedups = [
        formatting.with_interval(cell["speedup"], cell["speedup_low"], cell["speedup_high"], formatting.ratio)
        + f" ({formatting.milliseconds(cell['p50_ms'])} ms)"
        for cell in (before, after)
    ]
    return f"{'slower' if high_now < low_then else 'faster'}: {speedups[0]} before, {speedups[1]} now"
