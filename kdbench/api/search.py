"""Define search spaces: the values of a strategy's parameters that ``kdbench tune`` tries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

RATE_FACTOR = 8.0
"""By default learning rates from the default divided by this to the default times this are searched."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole numbers if both bounds are ints.

    Raises:
        ValueError: `low` is not below `high`, or not positive although the scale is logarithmic.
    """

    low: float
    high: float
    log: bool = False
    """Whether equal ratios are equally far apart, as for rates and temperatures."""

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low={self.low} must be less than high={self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low={self.low} must be positive on a logarithmic scale")

    @classmethod
    def around(cls, value: float, factor: float = RATE_FACTOR) -> Range:
        """Return the range from `value` / `factor` to `value` x `factor` on a logarithmic scale."""
        return cls(value / factor, value * factor, log=True)

    @property
    def is_whole(self) -> bool:
        """Whether it contains whole numbers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{' (logarithmic)' if self.log else ''}"


@dataclass(frozen=True)
class Choice:
    """One of several values without an order.

    Raises:
        ValueError: there are fewer than two.
    """

    values: tuple[str | bool | int | float | None, ...]

    def __post_init__(self) -> None:
        if len(self.values) < 2:
            raise ValueError(f"a choice needs two values or more, not {self.values!r}")

    def __contains__(self, value: object) -> bool:
        return any(value == known and type(value) is type(known) for known in self.values)

    def __str__(self) -> str:
        return " or ".join(
            str(value).lower() if isinstance(value, bool) else str(value) for value in self.values
        )


Space = Mapping[str, Range | Choice]
"""What is searched, by parameter."""
