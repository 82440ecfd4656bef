"""What became of a row's size and speed from older records to newer ones."""

from __future__ import annotations

from kdbench.board import formatting
from kdbench.board.frames import Row

_BYTES = 0.01
"""A smaller part of an artifact than this is its configuration's wording."""


def changed_costs(before: list[Row], after: list[Row]) -> tuple[str, ...]:
    """Return a phrase for each cost that changed.

    Parameters and bytes are counted and taken as they are. A row counts as slower or faster only if both sides were
    timed in the same setting (hardware, threads, batch), over the teacher of the same base model, and the intervals
    of the two speed-ups do not overlap: seconds of two days on one machine differ by more than most models do.

    Args:
        before: the cells of a row on one task, one a seed.
        after: the same of the newer records.
    """
    then, now = _timed(before), _timed(after)
    return tuple(
        phrase for phrase in (_parameters(then, now), _bytes(then, now), _speed(then, now)) if phrase
    )


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
    alike = all(before[name] == after[name] for name in ("latency_setting", "weights_sha256"))
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
