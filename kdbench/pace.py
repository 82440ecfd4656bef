"""How long a run will still take, by how it went so far."""

from __future__ import annotations


def seconds_left(done: int, total: int, elapsed_s: float) -> float | None:
    """Return how many seconds the rest takes at the pace so far; None before anything is done.

    However many cells run at once, it counts how many ended in what time.

    Args:
        done: the cells that have ended since the run began.
        total: the cells that it began with.
        elapsed_s: the time since then.
    """
    return elapsed_s * (total - done) / done if done else None
