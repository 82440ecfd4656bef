"""A recommendation in words, in the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console

from kdbench.board.figures import FIGURES
from kdbench.board.frames import Row
from kdbench.board.recommend import ALPHA, Recommendation
from kdbench.render.compare import points
from kdbench.stats import Difference
from kdbench.utils import formatting
from kdbench.utils.formatting import on_one_line, plural, probability

RULE = (
    f"Rule: of the rows within the limits, those not shown to differ in quality from the best (p >= {ALPHA:g}, each by"
    " itself) count as equals; the cheapest of them is recommended: the lowest p50, then the fewest parameters, then"
    " the fewest bytes."
)
_FIGURES = (
    "score",
    "total_parameters",
    "artifact_bytes",
    "p50_ms",
    "speedup",
    "train_s",
    "seeds",
    "warnings",
)


def recommendation_data(found: Recommendation) -> dict[str, Any]:
    """Return all of `found` as JSON has it; scores and differences are fractions."""
    low, high = found.interval or (None, None)
    return {
        "task": found.task,
        "metric": found.metric,
        "limits": {limit.flag: limit.bound for limit in found.limits},
        "recommended": {**_row_data(found.chosen.row), "score_low": low, "score_high": high},
        "reason": reason(found),
        "rule": RULE,
        "candidates": [
            {
                **_row_data(candidate.row),
                "is_equal_to_best": candidate.is_equal,
                "behind_best": asdict(candidate.behind) if candidate.behind else None,
                "problem": candidate.problem,
            }
            for candidate in found.candidates
        ],
        "excluded": [
            {"strategy": excluded.row["strategy"], "reasons": list(excluded.reasons)}
            for excluded in found.excluded
        ],
        "best_of_all": _row_data(found.best_of_all),
        "cost_against_best_of_all": asdict(found.cost) if found.cost else None,
    }


def print_recommendation(found: Recommendation, out: Console) -> None:
    """Print what to ship, why, what was held against it, and what the limits left out."""
    out.print(reason(found), soft_wrap=True)
    out.print()
    for candidate in found.candidates:
        if candidate.row is found.candidates[0].row:
            standing = "the best within the limits"
        elif candidate.behind is None:
            standing = f"not compared: {candidate.problem}"
        else:
            verdict = (
                "not shown to differ from the best" if candidate.is_equal else "shown worse than the best"
            )
            standing = f"{verdict} ({_interval(candidate.behind)})"
        out.print(
            f"  {candidate.row['strategy']}: {_figures(candidate.row)}; {standing}{_warning(candidate.row)}",
            soft_wrap=True,
        )
    for excluded in found.excluded:
        out.print(
            f"  {excluded.row['strategy']}: out by {', '.join(excluded.reasons)}{_warning(excluded.row)}",
            soft_wrap=True,
        )
    out.print()
    out.print(RULE, soft_wrap=True)


def reason(found: Recommendation) -> str:
    """Return what to ship and why, what the best without limits would be, and what the choice costs against it."""
    return " ".join(_sentences(found))


def _sentences(found: Recommendation) -> Iterator[str]:
    chosen, best = found.chosen.row, found.candidates[0].row
    within = "within the limits" if found.limits else "on the board (no limit was given)"
    yield f"Ship {chosen['strategy']} for {found.task}: {_figures(chosen, found)}."
    if chosen["warnings"]:
        yield f"Mind its warning: {on_one_line(chosen['warnings'])}."
    by = "the fastest" if found.is_timed else "the smallest (no timing)"
    if len(found.candidates) == 1:
        yield f"No other row is {within}."
    elif len(found.equals) == 1:
        yield f"It is the best {within}, and every other row there is shown worse."
    else:
        yield (
            f"It is {by} of {plural(len(found.equals), 'row')} {within} that are not shown to differ in"
            f" quality from the best of them, {best['strategy']}."
        )
    if found.chosen.behind is not None:
        behind = found.chosen.behind
        yield (
            f"Against {best['strategy']} it scores {formatting.difference(-behind.difference)} points ({_interval(behind)}): not"
            f" shown does not mean none, it may be {points(behind.high)} behind."
        )
    yield from _against_all(found)
    low_quality = [limit for limit in found.limits if limit.is_least]
    if low_quality and found.interval is not None and found.interval[0] < low_quality[0].bound:
        yield (
            f"Its interval reaches below {low_quality[0]}, down to {formatting.percent(found.interval[0])}."
        )


def _against_all(found: Recommendation) -> Iterator[str]:
    chosen, best = found.chosen.row, found.best_of_all
    if best["strategy"] == chosen["strategy"]:
        yield "It has the highest score of all rows, too."
        return
    cost = f"{points(best['score'] - chosen['score'])} of {found.metric}"
    if found.cost is not None:
        cost += f" ({_interval(found.cost)})"
    yield (
        f"The best score without limits is that of {best['strategy']}: {_figures(best)}{_warning(best)}. Against it the choice costs"
        f" {cost} and takes {_share(chosen, best)}."
    )


def _share(chosen: Row, best: Row) -> str:
    parts = [
        f"{chosen[column] / best[column]:.0%} of its {name}"
        for column, name in (
            ("total_parameters", "parameters"),
            ("artifact_bytes", "bytes"),
            ("p50_ms", "p50"),
        )
        if chosen[column] is not None and best[column]
    ]
    return ", ".join(parts)


def _figures(row: Row, found: Recommendation | None = None) -> str:
    low, high = (found.interval if found else None) or (None, None)
    latency = "not timed" if row["p50_ms"] is None else f"p50 {FIGURES['p50_ms'].text(row)} ms"
    return (
        f"{formatting.with_interval(row['score'], low, high)} {row['metric']},"
        f" {FIGURES['total_parameters'].text(row)} parameters, {FIGURES['artifact_bytes'].text(row)}, {latency}"
    )


def _warning(row: Row) -> str:
    return f"; warned: {on_one_line(row['warnings'])}" if row["warnings"] else ""


def _interval(behind: Difference) -> str:
    """Return the interval of a best score less another in percent points, with its p."""
    return (
        f"behind by {100 * behind.low:.1f} to {100 * behind.high:.1f} points at 95%, {probability(behind.p)}"
    )


def _row_data(row: Row) -> dict[str, Any]:
    return {"strategy": row["strategy"], **{name: row[name] for name in _FIGURES}}
