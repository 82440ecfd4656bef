"""Render a recommendation as sentences, terminal output and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console

from kdbench.board.costs import cost_per_million
from kdbench.board.figures import FIGURES
from kdbench.board.frames import Row
from kdbench.board.recommend import Candidate, Recommendation
from kdbench.board.statistics import ALPHA
from kdbench.render.compare import points
from kdbench.results.timings import Speed
from kdbench.stats.comparisons import Difference
from kdbench.utils import formatting
from kdbench.utils.formatting import on_one_line, plural, probability


def rule(recommendation: Recommendation) -> str:
    """Return how the row was chosen, in a sentence."""
    return (
        "Rule: of the rows within the limits, those shown to be less than"
        f" {100 * recommendation.margin:g} points worse than the best (one-sided p < {ALPHA:g}, Holm-corrected over the rows)"
        " count as good enough; the cheapest of them is recommended:"
        f" {_SPEEDS[recommendation.speed]} in a row's best back end, then the fewest parameters, then the fewest bytes. Limits are held against the ends of 95% intervals."
    )


_SPEEDS = {
    Speed.SINGLE: "the lowest p50",
    Speed.THROUGHPUT: "the most sentences per second in batches",
    Speed.P95: "the lowest p95",
}
_FIGURES = (
    "score",
    "total_parameters",
    "artifact_bytes",
    "p50_ms",
    "speedup",
    "best_back_end",
    "best_p50_ms",
    "best_speedup",
    "best_p95_ms",
    "best_batch_throughput_per_s",
    "train_s",
    "seeds",
    "warnings",
)


def recommendation_data(
    recommendation: Recommendation, price_per_hour: float | None = None
) -> dict[str, Any]:
    """Return `recommendation` as JSON-serializable data; scores and differences are fractions.

    With a price of the machine it has what a million examples cost by each row within the limits.
    """
    low, high = recommendation.interval or (None, None)
    costs = None if price_per_hour is None else _costs_per_million(recommendation, price_per_hour)
    return {
        **({} if costs is None else {"cost_per_million": costs}),
        "task": recommendation.task,
        "metric": recommendation.metric,
        "limits": {limit.flag: limit.bound for limit in recommendation.limits},
        "recommended": {**_row_data(recommendation.chosen.row), "score_low": low, "score_high": high},
        "reason": reason(recommendation),
        "rule": rule(recommendation),
        "margin": recommendation.margin,
        "speed": recommendation.speed.value,
        "candidates": [
            {
                **_row_data(candidate.row),
                "is_equal_to_best": candidate.is_equal,
                "may_be_best": candidate.may_be_best,
                "p_worse_by_margin": candidate.p,
                "behind_best": asdict(candidate.behind) if candidate.behind else None,
                "problem": candidate.problem,
            }
            for candidate in recommendation.candidates
        ],
        "excluded": [
            {"strategy": excluded.row["strategy"], "reasons": list(excluded.reasons)}
            for excluded in recommendation.excluded
        ],
        "best_of_all": _row_data(recommendation.best_of_all),
        "cost_against_best_of_all": asdict(recommendation.cost) if recommendation.cost else None,
    }


def print_recommendation(
    recommendation: Recommendation, out: Console, price_per_hour: float | None = None
) -> None:
    """Print what to ship, why, what it was compared with, what the limits excluded, and what a million examples cost."""
    out.print(reason(recommendation), soft_wrap=True)
    out.print()
    for candidate in recommendation.candidates:
        if candidate.row is recommendation.candidates[0].row:
            standing = "the best within the limits"
        elif candidate.behind is None:
            standing = f"not compared: {candidate.problem}"
        else:
            standing = f"{_standing(candidate)} ({_interval(candidate.behind)})"
        row = candidate.row
        out.print(f"  {row['strategy']}: {_figures(row)}; {standing}{_warning(row)}", soft_wrap=True)
    for excluded in recommendation.excluded:
        row, reasons = excluded.row, ", ".join(excluded.reasons)
        out.print(f"  {row['strategy']}: excluded by {reasons}{_warning(row)}", soft_wrap=True)
    out.print()
    if price_per_hour is not None:
        out.print(_money(_costs_per_million(recommendation, price_per_hour), price_per_hour), soft_wrap=True)
        out.print()
    out.print(rule(recommendation), soft_wrap=True)


def _costs_per_million(recommendation: Recommendation, price_per_hour: float) -> dict[str, float | None]:
    rows = [candidate.row for candidate in recommendation.candidates]
    return {row["strategy"]: cost_per_million(row, price_per_hour) for row in rows}


def _money(costs: dict[str, float | None], price_per_hour: float) -> str:
    """Return what a million examples cost by each row, cheapest first."""
    known = sorted((cost, row) for row, cost in costs.items() if cost is not None)
    if not known:
        return "No row within the limits was timed in batches on all cores, so that a million examples have no price."
    unknown = [row for row, cost in costs.items() if cost is None]
    listed = ", ".join(f"{row} {cost:.3g}" for cost, row in known)
    rest = f" Not timed so: {', '.join(unknown)}." if unknown else ""
    return f"At {price_per_hour:g} an hour, a million examples in batches on all cores cost: {listed}.{rest}"


def _standing(candidate: Candidate) -> str:
    if candidate.is_equal:
        return "good enough: shown to be within the margin of the best"
    if candidate.may_be_best:
        return "may be as good as the best, but that is not shown"
    return "significantly worse than the best of the others"


def reason(recommendation: Recommendation) -> str:
    """Return what to ship and why, the best row without limits, and what the choice costs compared with it."""
    return " ".join(_sentences(recommendation))


def _sentences(recommendation: Recommendation) -> Iterator[str]:
    chosen, best = recommendation.chosen.row, recommendation.candidates[0].row
    within = "within the limits" if recommendation.limits else "on the board (no limit was given)"
    yield f"Ship {chosen['strategy']} for {recommendation.task}: {_figures(chosen, recommendation.interval)}."
    if chosen["warnings"]:
        yield f"It has a warning: {on_one_line(chosen['warnings'])}."
    by = "the fastest" if recommendation.is_timed else "the smallest (no timing)"
    margin = points(recommendation.margin)
    if len(recommendation.candidates) == 1:
        yield f"No other row is {within}."
    elif len(recommendation.equals) == 1:
        yield f"It is the best {within}, and no other row there is shown to be less than {margin} worse."
    else:
        yield (
            f"It is {by} of {plural(len(recommendation.equals), 'row')} {within} shown to be less than {margin} worse than"
            f" the best of them, {best['strategy']}, or the best itself."
        )
    yield from _open_questions(recommendation)
    if recommendation.chosen.behind is not None:
        behind = recommendation.chosen.behind
        yield (
            f"Compared with {best['strategy']} it scores {formatting.difference(-behind.difference)} points"
            f" ({_interval(behind)})."
        )
    yield from _compared_with_best_of_all(recommendation)


def _open_questions(recommendation: Recommendation) -> Iterator[str]:
    """Yield what is not known: which cheaper rows may be as good, and whether that is about seeds."""
    undecided = [
        candidate.row["strategy"]
        for candidate in recommendation.candidates
        if candidate.may_be_best and not candidate.is_equal
    ]
    if undecided:
        yield f"More seeds or examples may show that other rows are as good: {', '.join(undecided)}."
    if not recommendation.seeds_are_known:
        yield "With one seed this is about these trained models, not about the strategies."


def _compared_with_best_of_all(recommendation: Recommendation) -> Iterator[str]:
    chosen, best = recommendation.chosen.row, recommendation.best_of_all
    if best["strategy"] == chosen["strategy"]:
        yield "It also has the highest score of all rows."
        return
    cost = f"{points(best['score'] - chosen['score'])} of {recommendation.metric}"
    if recommendation.cost is not None:
        cost += f" ({_interval(recommendation.cost)})"
    yield (
        f"The best score without limits is that of {best['strategy']}: {_figures(best)}{_warning(best)}. Compared with"
        f" it the choice costs {cost} and takes {_share(chosen, best)}."
    )


def _share(chosen: Row, best: Row) -> str:
    costs = {"total_parameters": "parameters", "artifact_bytes": "bytes", "best_p50_ms": "p50"}
    return ", ".join(
        f"{chosen[column] / best[column]:.0%} of its {name}"
        for column, name in costs.items()
        if chosen[column] is not None and best[column]
    )


def _figures(row: Row, interval: tuple[float, float] | None = None) -> str:
    low, high = interval or (None, None)
    latency = "not timed"
    if row["best_p50_ms"] is not None:
        latency = f"p50 {FIGURES['best_p50_ms'].text(row, is_brief=True)} ms in {row['best_back_end']}"
    return (
        f"{formatting.with_interval(row['score'], low, high)} {row['metric']},"
        f" {FIGURES['total_parameters'].text(row)} parameters, {FIGURES['artifact_bytes'].text(row)}, {latency}"
    )


def _warning(row: Row) -> str:
    return f"; warning: {on_one_line(row['warnings'])}" if row["warnings"] else ""


def _interval(behind: Difference) -> str:
    """Return the interval of the best score minus another in percentage points, with its p-value."""
    low, high = 100 * behind.low, 100 * behind.high
    return f"behind by {low:.1f} to {high:.1f} points at 95%, {probability(behind.p)}"


def _row_data(row: Row) -> dict[str, Any]:
    return {"strategy": row["strategy"], **{name: row[name] for name in _FIGURES}}
