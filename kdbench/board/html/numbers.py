"""Numbers as the page holds them: with no more digits than it needs to sort and to draw."""

from __future__ import annotations

import math

_DIGITS = 6
"""No picture shows more, and what is equal to so many is equal for a reader who sorts."""


def rounded(value: object, digits: int = _DIGITS) -> float | int | None:
    """Return an integer as it is and a fraction to `digits` significant ones; None for all that JSON knows no number for."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value if isinstance(value, int) else None
