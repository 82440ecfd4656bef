"""Define and parse limits on what a model may cost and must score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kdbench.board.figures import FIGURES
from kdbench.board.frames import Row
from kdbench.errors import UsageError, nearest
from kdbench.utils import formatting
from kdbench.utils.formatting import parse_amount

Show = Callable[[float | None], str]


@dataclass(frozen=True)
class Limit:
    """A bound on one of a board's columns."""

    flag: str
    column: str
    bound: float
    """In the unit of the column."""
    is_least: bool
    """Whether values below the bound are excluded, instead of those above."""
    text: str
    """The bound as the user wrote it."""
    show: Show

    def __str__(self) -> str:
        return f"{self.flag} {self.text}"

    def _value(self, row: Row) -> float | None:
        """Return the value of `row`: the unfavourable end of its interval where there is one."""
        low, high = FIGURES[self.column].interval or (None, None)
        end = row.get(low if self.is_least else high) if low and high else None
        value: float | None = row[self.column] if end is None else end
        return value

    def admits(self, row: Row) -> bool:
        """Return whether `row` is within the limit; a row that was not measured is not."""
        value = self._value(row)
        if value is None:
            return False
        return bool(value >= self.bound if self.is_least else value <= self.bound)

    def miss(self, row: Row) -> float:
        """Return the factor by which `row` misses the limit; infinite where it was not measured."""
        value = self._value(row)
        if value is None:
            return float("inf")
        if self.is_least:
            return self.bound / value if value > 0 else float("inf")
        return float(value) / self.bound

    def why(self, row: Row) -> str:
        """Return why `row` is outside the limit."""
        value, end = row[self.column], self._value(row)
        if value is None:
            return f"{self} (not measured)"
        reach = (
            ""
            if end is None or end == value
            else f", at 95% {'down' if self.is_least else 'up'} to {self.show(end)}"
        )
        return f"{self} ({self.show(value)}{reach})"


def _milliseconds(value: float | None) -> str:
    return f"{formatting.milliseconds(value)} ms"


_LIMITED: Mapping[str, tuple[str, str, Show]] = {
    "latency_ms": ("max_latency_ms", "best_p50_ms", _milliseconds),
    "parameters": ("max_params", "total_parameters", formatting.count),
    "bytes": ("max_bytes", "artifact_bytes", formatting.size),
    "quality": ("min_quality", "score", formatting.percent),
}
"""The quantities that can be limited, each with its flag, its column and how the column is shown."""
SYNTAX = f"NAME=NUMBER,… of {', '.join(_LIMITED)}, as in latency_ms=5,parameters=12M,bytes=50MB"


def limits_of(**given: str | None) -> list[Limit]:
    """Parse the values of the flags, such as ``max_latency_ms``, into limits; quality is in percent, as on a board.

    Raises:
        UsageError: a value is not a positive number, or the quality is not a percentage.
    """
    if unknown := given.keys() - {flag for flag, _, _ in _LIMITED.values()}:
        raise TypeError(f"no such limits: {', '.join(sorted(unknown))}")
    limits = []
    for flag, column, show in _LIMITED.values():
        text = given.get(flag)
        if text is not None:
            name = f"--{flag.replace('_', '-')}"
            bound = _bound(name, text, is_percent=column == "score")
            limits.append(Limit(name, column, bound, is_least=flag.startswith("min"), text=text, show=show))
    return limits


def _bound(flag: str, text: str, *, is_percent: bool) -> float:
    try:
        number = parse_amount(text)
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None
    if not is_percent:
        return number
    if not 1 <= number <= 100:
        raise UsageError(f"{flag} {text} is not in percent; write 78.5 for a score of 0.785")
    return number / 100


def parse_limits(text: str) -> list[Limit]:
    """Parse limits from `text`, written as `SYNTAX` says; they are those of ``kdbench recommend``.

    Raises:
        UsageError: a name is unknown or repeated, or a value is not a positive number.
    """
    given: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not name:
            raise UsageError(f"--best-under {text!r}: {part.strip()!r} is no limit; write {SYNTAX}")
        if name not in _LIMITED:
            raise UsageError(
                f"--best-under: unknown limit {name!r}{nearest(name, list(_LIMITED))}; write {SYNTAX}"
            )
        if name in given:
            raise UsageError(f"--best-under sets {name!r} twice; keep one of them")
        given[name] = value
    try:
        return limits_of(**{_LIMITED[name][0]: value for name, value in given.items()})
    except UsageError as error:
        raise UsageError(f"--best-under {text}: {error}") from None
