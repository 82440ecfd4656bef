"""Recommend which row of a board to deploy under given limits, and say why.

Of the rows within the limits, those that do not differ significantly in quality from the best of them count as equals,
and the cheapest of these is recommended: the one with the lowest p50; without a timing, or among equal ones, the one
with fewer parameters, then with fewer bytes, then with the higher score. Each row is compared with the best at the 5%
level, uncorrected: a correction for many comparisons would let weaker rows pass as equals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdbench.board.frames import Row, rows_of
from kdbench.board.load import Loaded
from kdbench.board.predictions import TaskAnswers
from kdbench.board.rows import aggregate, has_score
from kdbench.errors import KdbenchError, UsageError, nearest
from kdbench.stats.comparisons import Difference
from kdbench.utils import formatting
from kdbench.utils.formatting import parse_amount, plural


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
    show: Callable[[float | None], str]

    def __str__(self) -> str:
        return f"{self.flag} {self.text}"

    def admits(self, row: Row) -> bool:
        """Return whether `row` is within the limit; a row that was not measured is not."""
        value = row[self.column]
        if value is None:
            return False
        return bool(value >= self.bound if self.is_least else value <= self.bound)

    def miss(self, row: Row) -> float:
        """Return the factor by which `row` misses the limit; infinite where it was not measured."""
        value = row[self.column]
        if value is None:
            return float("inf")
        if self.is_least:
            return self.bound / value if value > 0 else float("inf")
        return float(value) / self.bound

    def why(self, row: Row) -> str:
        """Return why `row` is outside the limit."""
        value = row[self.column]
        return f"{self} ({'not measured' if value is None else self.show(value)})"


def limits_of(
    *, max_latency_ms: str | None, max_params: str | None, max_bytes: str | None, min_quality: str | None
) -> list[Limit]:
    """Parse the values of the flags into limits; quality is in percent, as on a board.

    Raises:
        UsageError: a value is not a positive number, or the quality is not a percentage.
    """
    upper: Sequence[tuple[str, str, str | None, Callable[[float | None], str]]] = (
        ("--max-latency-ms", "p50_ms", max_latency_ms, _milliseconds),
        ("--max-params", "total_parameters", max_params, formatting.count),
        ("--max-bytes", "artifact_bytes", max_bytes, formatting.size),
    )
    limits = [
        Limit(flag, column, _amount(flag, text), is_least=False, text=text, show=show)
        for flag, column, text, show in upper
        if text is not None
    ]
    if min_quality is not None:
        percent = _amount("--min-quality", min_quality)
        if not 1 <= percent <= 100:
            raise UsageError(
                f"--min-quality {min_quality} is not in percent; write 78.5 for a score of 0.785"
            )
        bound = percent / 100
        limits.append(
            Limit("--min-quality", "score", bound, is_least=True, text=min_quality, show=formatting.percent)
        )
    return limits


def _milliseconds(value: float | None) -> str:
    return f"{formatting.milliseconds(value)} ms"


def _amount(flag: str, text: str) -> float:
    try:
        return parse_amount(text)
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None


ALPHA = 0.05
"""The level at which a row counts as significantly worse than the best."""


@dataclass(frozen=True)
class Candidate:
    """A row within the limits, compared with the best of them."""

    row: Row
    behind: Difference | None
    """The best row's score minus this one's; None for the best itself, and where it cannot be computed."""
    problem: str | None = None
    """Why `behind` cannot be computed."""

    @property
    def is_equal(self) -> bool:
        """Whether it does not differ significantly from the best."""
        return self.problem is None and (self.behind is None or self.behind.p >= ALPHA)


@dataclass(frozen=True)
class Excluded:
    """A row outside the limits, or without a score."""

    row: Row
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Recommendation:
    """The row to deploy, and what it was chosen from."""

    task: str
    metric: str
    limits: tuple[Limit, ...]
    chosen: Candidate
    candidates: tuple[Candidate, ...]
    """The rows within the limits, best first."""
    excluded: tuple[Excluded, ...]
    best_of_all: Row
    """The row with the highest score, whatever it costs."""
    cost: Difference | None
    """The score of `best_of_all` minus that of the chosen row; None where they are the same, or it cannot be computed."""
    interval: tuple[float, float] | None
    """The 95% interval of the chosen row's score."""

    @property
    def is_timed(self) -> bool:
        """Whether the choice is by latency."""
        return self.chosen.row["p50_ms"] is not None

    @property
    def equals(self) -> tuple[Candidate, ...]:
        """The candidates that do not differ significantly from the best, including the best."""
        return tuple(candidate for candidate in self.candidates if candidate.is_equal)


def recommend(loaded: Loaded, results: Path, task: str, limits: list[Limit]) -> Recommendation:
    """Return the row to deploy for `task` within `limits`.

    Args:
        loaded: the cells of a board.
        results: the folder with the predictions.
        task: the task's name.
        limits: the limits that the model must meet.

    Raises:
        UsageError: the task has no result.
        KdbenchError: no row has a score, or none is within the limits; names the binding limit and the nearest miss.
    """
    existing = sorted(set(loaded.cells["task"]))
    if task not in existing:
        raise UsageError(f"--task {task!r} has no result here{nearest(task, existing)}")
    cells = loaded.cells[loaded.cells["task"] == task]
    rows = rows_of(aggregate(cells))
    scored = [row for row in rows if has_score(row)]
    if not scored:
        raise KdbenchError(f"no row of {task} has a score; the board says why")
    within = [row for row in scored if all(limit.admits(row) for limit in limits)]
    if not within:
        raise KdbenchError(_nothing_fits(task, scored, limits))
    answers = TaskAnswers(cells, results, metrics=loaded.metrics)
    candidates = _candidates(within, answers)
    chosen = min((candidate for candidate in candidates if candidate.is_equal), key=_price)
    return Recommendation(
        task=task,
        metric=str(cells["metric"].iloc[0]),
        limits=tuple(limits),
        chosen=chosen,
        candidates=tuple(candidates),
        excluded=tuple(_excluded(rows, limits)),
        best_of_all=scored[0],
        cost=_cost(scored[0], chosen.row, answers),
        interval=_interval(chosen.row, answers),
    )


def _candidates(within: list[Row], answers: TaskAnswers) -> list[Candidate]:
    """Compare each row with the first, which is the best."""
    best = within[0]
    candidates = [Candidate(best, None)]
    for row in within[1:]:
        try:
            candidates.append(Candidate(row, answers.difference(best["strategy"], row["strategy"])))
        except KdbenchError as error:
            candidates.append(Candidate(row, None, problem=str(error)))
    return candidates


def _price(candidate: Candidate) -> tuple[float, ...]:
    costs = [candidate.row[column] for column in ("p50_ms", "total_parameters", "artifact_bytes")]
    return (*(float("inf") if cost is None else cost for cost in costs), -candidate.row["score"])


def _excluded(rows: list[Row], limits: list[Limit]) -> list[Excluded]:
    excluded = []
    for row in rows:
        reasons = [limit.why(row) for limit in limits if not limit.admits(row)]
        if not has_score(row):
            reasons = [f"no score: {row['status']}"]
        if reasons:
            excluded.append(Excluded(row, tuple(reasons)))
    return excluded


def _cost(best: Row, chosen: Row, answers: TaskAnswers) -> Difference | None:
    if best["strategy"] == chosen["strategy"]:
        return None
    try:
        return answers.difference(best["strategy"], chosen["strategy"])
    except KdbenchError:
        return None  # the scores alone then say what it costs


def _interval(row: Row, answers: TaskAnswers) -> tuple[float, float] | None:
    try:
        return answers.interval(row["strategy"])
    except KdbenchError:
        return None


def _nothing_fits(task: str, scored: list[Row], limits: list[Limit]) -> str:
    """Return one line that names the binding limit and the row that misses the limits by the least."""
    untimed = next((limit for limit in limits if limit.column == "p50_ms"), None)
    if untimed is not None and all(row["p50_ms"] is None for row in scored):
        return (
            f"no row of {task} is timed, so that none can meet {untimed}; 'kdbench run' times trained models"
        )
    binding = []
    for limit in limits:
        others = [other for other in limits if other is not limit]
        freed = sum(all(other.admits(row) for other in others) for row in scored)
        if freed:
            binding.append(f"{limit} binds: without it {plural(freed, 'row')} would do")
    nearest_row = min(scored, key=lambda row: max(limit.miss(row) for limit in limits))
    missed = ", ".join(limit.why(nearest_row) for limit in limits if not limit.admits(nearest_row))
    return (
        f"no row of {task} is within {', '.join(map(str, limits))}"
        f" ({'; '.join(binding) or 'no single limit alone keeps all out'}); the nearest is"
        f" {nearest_row['strategy']}, which misses {missed}"
    )


_ARGUMENTS: Mapping[str, str] = {
    "latency_ms": "max_latency_ms",
    "parameters": "max_params",
    "bytes": "max_bytes",
    "quality": "min_quality",
}
"""The quantities that can be limited, with the arguments of `limits_of`; the last is a minimum."""
SYNTAX = f"NAME=NUMBER,… of {', '.join(_ARGUMENTS)}, as in latency_ms=5,parameters=12M,bytes=50MB"


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
        if name not in _ARGUMENTS:
            raise UsageError(
                f"--best-under: unknown limit {name!r}{nearest(name, list(_ARGUMENTS))}; write {SYNTAX}"
            )
        if name in given:
            raise UsageError(f"--best-under sets {name!r} twice; keep one of them")
        given[name] = value
    try:
        return limits_of(**{argument: given.get(name) for name, argument in _ARGUMENTS.items()})
    except UsageError as error:
        raise UsageError(f"--best-under {text}: {error}") from None
