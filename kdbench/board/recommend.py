"""Recommend which row of a board to deploy under given limits, and say why.

Of the rows within the limits, those that do not differ significantly in quality from the best of them count as equals,
and the cheapest of these is recommended: the one with the lowest p50; without a timing, or among equal ones, the one
with fewer parameters, then with fewer bytes, then with the higher score. Each row is compared with the best at the 5%
level, uncorrected: a correction for many comparisons would let weaker rows pass as equals.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kdbench.board.frames import Row, rows_of
from kdbench.board.limits import Limit
from kdbench.board.load import Loaded
from kdbench.board.predictions import TaskAnswers
from kdbench.board.rows import aggregate, has_score
from kdbench.board.statistics import ALPHA
from kdbench.errors import KdbenchError, UsageError, nearest
from kdbench.stats.comparisons import Difference
from kdbench.utils.formatting import plural


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
    """The 95% interval of the chosen row's score; None where it cannot be computed."""

    @property
    def is_timed(self) -> bool:
        """Whether the choice is by latency."""
        return self.chosen.row["p50_ms"] is not None

    @property
    def equals(self) -> tuple[Candidate, ...]:
        """The candidates that do not differ significantly from the best, including the best."""
        return tuple(candidate for candidate in self.candidates if candidate.is_equal)


def recommend(loaded: Loaded, results: Path, task: str, limits: list[Limit]) -> Recommendation:
    """Return the row to deploy for `task` within `limits`, given a board's cells and the folder of the predictions.

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
    candidates = [_candidate(row, within[0], answers) for row in within]
    chosen = min((candidate for candidate in candidates if candidate.is_equal), key=_price)
    return Recommendation(
        task=task,
        metric=str(cells["metric"].iloc[0]),
        limits=tuple(limits),
        chosen=chosen,
        candidates=tuple(candidates),
        excluded=tuple(_excluded(rows, limits)),
        best_of_all=scored[0],
        cost=_candidate(chosen.row, scored[0], answers).behind,
        interval=answers.interval(chosen.row["strategy"]),
    )


def _candidate(row: Row, best: Row, answers: TaskAnswers) -> Candidate:
    if row is best:
        return Candidate(row, None)
    try:
        return Candidate(row, answers.difference(best["strategy"], row["strategy"]))
    except KdbenchError as error:
        return Candidate(row, None, problem=str(error))


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
