"""Say in words what a run until decided has shown, what is open, and what would settle it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kdbench.board.decision import Savings, TaskDecision
from kdbench.stats.prospects import MOST_SEEDS, Prospect
from kdbench.utils.formatting import plural, seconds

_PAIRS = 3
"""How many pairs of rows are named of each sort."""


def state_line(decision: TaskDecision) -> str:
    """Return one line on how many rows of a task are decided after the last look."""
    claims = decision.claims
    if claims is None:
        return f"{decision.task}: no row has a score to compare"
    state = "decided" if decision.is_decided else f"{plural(len(claims.open), 'row')} open"
    worse = [row for row in claims.worse_than if row not in claims.good_enough]
    return (
        f"{decision.task}, {plural(decision.seeds, 'seed')}: {state}, {len(claims.good_enough)} good enough,"
        f" {len(worse)} worse than another"
    )


def decision_lines(decision: TaskDecision) -> Iterator[str]:
    """Yield the lines on a task at the end of a run: what is shown, what is open, and what would settle it."""
    yield state_line(decision)
    claims = decision.claims
    if claims is None:
        return
    points = f"{100 * decision.design.margin:g} points"
    if claims.good_enough:
        yield f"  good enough, shown to be less than {points} worse than the best: {', '.join(claims.good_enough)}"
    if claims.open:
        yield f"  open, neither shown to be so nor to be worse than another row: {', '.join(claims.open)}"
        yield from (f"    {line}" for line in _remedies(decision.prospects, decision.examples))


def _remedies(prospects: Mapping[tuple[str, str], Prospect], examples: int) -> Iterator[str]:
    by_seeds, by_examples, by_many = [], [], []
    for (a, b), prospect in prospects.items():
        names = f"{a} against {b}"
        if prospect.is_limited_by_examples():
            by_examples.append((examples * prospect.examples_needed(), names))
        elif (seeds := prospect.seeds_needed()) is not None:
            by_seeds.append((seeds, names))
        else:
            by_many.append(names)
    for seeds, names in sorted(by_seeds)[:_PAIRS]:
        yield f"{plural(seeds, 'more seed')} would settle {names}, if the difference stays as it is"
    yield from _further(by_seeds, "with more seeds")
    for needed, names in sorted(by_examples)[:_PAIRS]:
        yield (
            f"no number of seeds would settle {names}: the test set of {examples:,} examples is too small; about"
            f" {float(f'{needed:.2g}'):,.0f} would"
        )
    yield from _further(by_examples, "with more examples")
    for names in by_many[:_PAIRS]:
        yield f"more than {MOST_SEEDS} seeds would be needed to settle {names}"
    yield from _further(by_many, "likewise")


def _further(pairs: Sequence[object], how: str) -> Iterator[str]:
    if len(pairs) > _PAIRS:
        yield f"and {plural(len(pairs) - _PAIRS, 'more pair')} {how}"


def end_lines(tasks: Sequence[TaskDecision], savings: Savings) -> Iterator[str]:
    """Yield the lines at the end of a run: each task's, and what was not run of the full grid."""
    for decision in tasks:
        yield from decision_lines(decision)
    run = savings.of_cells - savings.cells
    yield (
        f"Ran {run:,} of the {plural(savings.of_cells, 'cell')} of the full grid ({savings.max_seeds} seeds of every row);"
        f" the other {savings.cells:,} would have trained for about {seconds(savings.train_s)}"
    )
