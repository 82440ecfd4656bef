"""What became of a row's size and speed from older records to newer ones."""

from __future__ import annotations

from kdbench.board import formatting
from kdbench.board.frames import Row

_BYTES = 0.01
"""A smaller part of an artifact than this is its configuration's wording."""


def changed_costs(before: list[Row], after: list[Row]) -> tuple[str, ...]:
    """Return a phrase for each cost that changed.

    Parameters and bytes are counted and taken as they are. A row counts as slower or faster only if both sides were
    timed on the same hardware, threads and batch, over the teacher of the same base model, and the intervals of the two
    speed-ups do not overlap: seconds of two days on one machine differ by more than most models do. The libraries may
    be of other versions: what an upgrade does to speed is what one wants to know (`other_runtimes` tells of it).

    Args:
        before: the cells of a row on one task, one a seed.
        after: the same of the newer records.
    """
    then, now = _timed(before), _timed(after)
    return tuple(
        phrase for phrase in (_parameters(then, now), _bytes(then, now), _speed(then, now)) if phrase
    )


def other_runtimes(before: list[Row], after: list[Row]) -> str | None:
    """Return which libraries ran a row in another version, where it was timed on the same hardware; None without any."""
    then, now = _timed(before), _timed(after)
    if not _same_hardware(then, now):
        return None
    versions, newer = then["latency_runtimes"], now["latency_runtimes"]
    told = [
        f"{name} {versions.get(name, 'not recorded')} before and {newer.get(name, 'not recorded')} now"
        for name in sorted({*versions, *newer})
        if versions.get(name) != newer.get(name)
    ]
    return ", ".join(told) or None


def _same_hardware(before: Row, after: Row) -> bool:
    return before["latency_hardware"] is not None and before["latency_hardware"] == after["latency_hardware"]


def _timed(cells: list[Row]) -> Row:
    return next((cell for cell in cells if cell["p50_ms"] is not None), cells[0])


def _parameters(before: Row, after: Row) -> str | None:
    then, now = before["total_parameters"], after["total_parameters"]
    if None in (then, now) or then == now:
        return None
    return f"{'more' if now > then else 'fewer'} parameters: {then:,} before, {now:,} now"


def _bytes(before: Row, after: Row) -> str | None:
    then, now = before["artifact_bytes"], after["artifact_bytes"]
    if None in (then, now) or abs(now - then) <= _BYTES * then:
        return None
    return (
        f"{'larger' if now > then else 'smaller'}: {formatting.size(then)} before, {formatting.size(now)} now"
    )


def _speed(before: Row, after: Row) -> str | None:
    alike = _same_hardware(before, after) and before["weights_sha256"] == after["weights_sha256"]
    ends = [cell[name] for cell in (before, after) for name in ("speedup_low", "speedup_high")]
    if not alike or None in ends:
        return None
    low_then, high_then, low_now, high_now = ends
    if low_now <= high_then and low_then <= high_now:
        return None
    told = [
        f"{formatting.ratio_with_interval(cell['speedup'], cell['speedup_low'], cell['speedup_high'])}"
        f" ({formatting.milliseconds(cell['p50_ms'])} ms)"
        for cell in (before, after)
    ]
    return f"{'slower' if high_now < low_then else 'faster'}: {told[0]} before, {told[1]} now"
