"""Recommend which row of a board to deploy under given limits, and say why.

Of the rows within the limits, those that are shown to be less than a margin worse than the best of them count as good
enough, and the cheapest of these is recommended: the fastest in its best back end, by the kind of speed that the user names;
without a timing, or among equal ones, the one with fewer parameters, then with fewer bytes, then with the higher score. "Shown" is a one-sided test of
non-inferiority at the 5% level (Wellek 2010), Holm-corrected over the rows, so that with at least 95% no row
is let through that is worse by the margin; a noisy row, of which little is known, is not. Limits are held against the
unfavourable end of an interval where there is one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from kdbench.board.frames import Row, rows_of
from kdbench.board.limits import Limit
from kdbench.board.load import Loaded
from kdbench.board.predictions import TaskAnswers
from kdbench.board.rows import aggregate, has_score
from kdbench.board.statistics import ALPHA, MARGIN
from kdbench.errors import KdbenchError, UsageError, nearest
from kdbench.results.timings import Speed
from kdbench.stats.comparisons import Difference, holm, holm_pairs
from kdbench.utils.formatting import plural

SPEED_COLUMNS = {
    Speed.SINGLE: "best_p50_ms",
    Speed.THROUGHPUT: "best_batch_throughput_per_s",
    Speed.P95: "best_p95_ms",
}
"""The columns of each kind of speed, in the row's best back end."""


@dataclass(frozen=True)
class Candidate:
    """A row within the limits, compared with the best of them."""

    row: Row
    behind: Difference | None
    """The best row's score minus this one's; None for the best itself, and where it cannot be computed."""
    p: float = 0.0
    """Of being worse than the best by the margin or more, Holm-corrected over the candidates; 0 for the best itself."""
    may_be_best: bool = True
    """Whether it belongs to the 95% confidence set of the best row: no candidate is significantly better, after Holm's
    correction over all pairs of candidates."""
    problem: str | None = None
    """Why it cannot be compared."""

    @property
    def is_equal(self) -> bool:
        """Whether it is shown to be less than the margin worse than the best."""
        return self.problem is None and self.p < ALPHA


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
    speed: Speed
    """What decides which row is the fastest."""
    margin: float
    """By how much, as a fraction, a row may be worse than the best and still be good enough."""
    seeds_are_known: bool
    """Whether differences cover the variation over seeds; otherwise they are about these trained models alone."""
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
        return self.chosen.row[SPEED_COLUMNS[self.speed]] is not None

    @property
    def equals(self) -> tuple[Candidate, ...]:
        """The candidates shown to be less than the margin worse than the best, including the best."""
        return tuple(candidate for candidate in self.candidates if candidate.is_equal)


def recommend(
    loaded: Loaded,
    results: Path,
    task: str,
    limits: list[Limit],
    margin: float = MARGIN,
    speed: Speed = Speed.SINGLE,
) -> Recommendation:
    """Return the row to deploy for `task` within `limits`, given a board's cells and the folder of the predictions.

    Args:
        margin: by how much, as a fraction, a row may be worse than the best and still be good enough.
        speed: by which speed rows are compared; a limit on latency is one on the p95 where that is named.

    Raises:
        UsageError: the task has no result.
        KdbenchError: no row has a score, or none is within the limits; names the binding limit and the nearest miss.
    """
    existing = sorted(set(loaded.cells["task"]))
    if task not in existing:
        raise UsageError(f"--task {task!r} has no result here{nearest(task, existing)}")
    cells = loaded.cells[loaded.cells["task"] == task]
    if speed is Speed.P95:
        limits = [_at_p95(limit) for limit in limits]
    answers = TaskAnswers(cells, results, metrics=loaded.metrics)
    rows = [_with_interval(row, answers) for row in rows_of(aggregate(cells))]
    scored = [row for row in rows if has_score(row)]
    if not scored:
        raise KdbenchError(f"no row of {task} has a score; the board says why")
    within = [row for row in scored if all(limit.admits(row) for limit in limits)]
    if not within:
        raise KdbenchError(_nothing_fits(task, scored, limits))
    candidates = _candidates(within, answers, margin)
    chosen = min(
        (candidate for candidate in candidates if candidate.is_equal), key=partial(_price, speed=speed)
    )
    return Recommendation(
        task=task,
        metric=str(cells["metric"].iloc[0]),
        limits=tuple(limits),
        speed=speed,
        margin=margin,
        seeds_are_known=all(answers.spreads[row["strategy"]] is not None for row in within),
        chosen=chosen,
        candidates=tuple(candidates),
        excluded=tuple(_excluded(rows, limits)),
        best_of_all=scored[0],
        cost=_behind(chosen.row, scored[0], answers),
        interval=answers.interval(chosen.row["strategy"]),
    )


def _at_p95(limit: Limit) -> Limit:
    is_latency = limit.column == SPEED_COLUMNS[Speed.SINGLE]
    return replace(limit, column=SPEED_COLUMNS[Speed.P95]) if is_latency else limit


def _with_interval(row: Row, answers: TaskAnswers) -> Row:
    """Return `row` with the interval of its score, against whose end limits are held."""
    found = answers.interval(row["strategy"]) if row["strategy"] in answers.rows else None
    return row if found is None else {**row, "score_low": found[0], "score_high": found[1]}


def _candidates(within: list[Row], answers: TaskAnswers, margin: float) -> list[Candidate]:
    """Return each row within the limits, best first, compared with the best."""
    best, *others = within
    problems = {row["strategy"]: problem for row in others if (problem := _problem(row, best, answers))}
    candidates = {
        row["strategy"]: Candidate(row, None, 1.0, problem=problems.get(row["strategy"])) for row in others
    }
    compared = [row for row in within if row["strategy"] not in problems]
    if len(compared) == 1:
        return [Candidate(best, None), *candidates.values()]
    pairs = answers.differences([row["strategy"] for row in compared])
    p = [0.0, *holm(pairs.noninferiority_p(margin)[1:, 0]).tolist()]
    beaten = np.any((holm_pairs(pairs.p) < ALPHA) & (pairs.difference > 0), axis=0).tolist()
    for place, row in enumerate(compared):
        behind = pairs.of(0, place) if place else None
        candidates[row["strategy"]] = Candidate(row, behind, p[place], not beaten[place])
    return [candidates[row["strategy"]] for row in within]


def _problem(row: Row, best: Row, answers: TaskAnswers) -> str | None:
    """Return why two rows cannot be compared, or None if they can."""
    try:
        answers.difference(best["strategy"], row["strategy"])
    except KdbenchError as error:
        return str(error)
    return None


def _behind(row: Row, best: Row, answers: TaskAnswers) -> Difference | None:
    if row is best or _problem(row, best, answers) is not None:
        return None
    return answers.difference(best["strategy"], row["strategy"])


def _price(candidate: Candidate, speed: Speed) -> tuple[float, ...]:
    fast = candidate.row[SPEED_COLUMNS[speed]]
    if fast is not None and speed is Speed.THROUGHPUT:
        fast = -fast
    costs = [fast, *(candidate.row[column] for column in ("total_parameters", "artifact_bytes"))]
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
    untimed = next((limit for limit in limits if limit.column in SPEED_COLUMNS.values()), None)
    if untimed is not None and all(row[untimed.column] is None for row in scored):
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
