"""One seed for each axis of randomness, so that every strategy sees the same data order within a seed."""

from __future__ import annotations

import hashlib


def axis_seed(seed: int, axis: str) -> int:
    """Return the 31-bit seed of one `axis` within the repetition `seed`.

    The axes of training: ``data`` (the order), ``init`` (fresh weights), ``dropout``, and ``strategy`` (what it draws itself).
    """
    return int.from_bytes(hashlib.sha256(f"{seed}/{axis}".encode()).digest()[:4], "big") >> 1
