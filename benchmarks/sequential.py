"""Simulate `kdbench run --until-decided`: how often it says what is not true, and how many cells it saves.

    python benchmarks/sequential.py [--quick] [--seed 0]

Rows whose true scores are known get seeds as the command gives them. A false claim is a row that is called worse than
another although it is not, or good enough although it is worse than the best by the margin or more. *settled* rows are
shown to be one or the other; beside it stands the full grid, in which every row gets all seeds and there is one look.
"to the last seed" ignores prospects: every row that may be the best gets all seeds, so that all looks are taken. The last
column is the board that is drawn afterwards, whose tests know nothing of looks: any false difference at 5%.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from coverage import ALPHA, BOARD, MARGIN, RESAMPLES, _spreads
from simulated_rows import Floats, TrueRow, board_scores, board_spreads, derive, simulate

from kdbench.board.pairing import Pairing
from kdbench.evaluation.metrics import METRICS
from kdbench.stats.bootstrap import Resampled, resample
from kdbench.stats.comparisons import holm_pairs, pairwise_differences
from kdbench.stats.prospects import prospects, worth_a_seed
from kdbench.stats.seed_variance import seed_spreads
from kdbench.stats.sequential import Design, SequentialClaims


@dataclass(frozen=True)
class Truth:
    """Rows whose true scores are known, with all seeds of the full grid."""

    scores: Sequence[float]
    statistics: list[Floats]
    sources: dict[int, int]
    """The place of the row that a derived row is made from."""


@dataclass(frozen=True)
class Raced:
    """What came of one run."""

    claims: SequentialClaims
    cells: int
    is_board_false: bool
    """Whether a board drawn at the end claims any difference that is not true."""


def race(truth: Truth, design: Design, *, to_the_last: bool = False) -> Raced:
    """Give seeds to the rows of `truth` until they are decided."""
    metric = METRICS["accuracy"]
    all_seeds = resample(truth.statistics, metric.score, score_range=metric.score_range, resamples=RESAMPLES)
    names = [str(place) for place in range(len(all_seeds))]
    claims = SequentialClaims(names, design)
    counts = dict.fromkeys(names, design.first_seeds)
    for seeds in range(design.first_seeds, design.max_seeds + 1):
        models = [model.of_seeds(range(counts[name])) for name, model in zip(names, all_seeds, strict=True)]
        spreads = seed_spreads([model.scores.tolist() for model in models])
        paired = _pairing(names, models, truth.sources).spreads(names)
        pairs = pairwise_differences(models, spreads, np.eye(len(names), dtype=bool), paired)
        claims.look(names, pairs, [name for name in names if counts[name] == seeds])
        if seeds == design.max_seeds:
            break
        rows = dict(zip(names, zip(models, spreads, strict=True), strict=True))
        wanted = (
            set(claims.may_be_best)
            if to_the_last
            else worth_a_seed(prospects(claims, rows, pairs, paired), design.max_seeds)
        )
        if not wanted:
            break
        wanted |= {str(truth.sources[int(name)]) for name in wanted if int(name) in truth.sources}
        counts |= dict.fromkeys(wanted, seeds + 1)
    better = (holm_pairs(pairs.p) < ALPHA) & (pairs.difference > 0)
    true = np.asarray(truth.scores)
    return Raced(claims, sum(counts.values()), bool((better & (true[:, None] <= true + 1e-12)).any()))


def _pairing(names: list[str], models: list[Resampled], sources: dict[int, int]) -> Pairing:
    return Pairing(
        {
            name: [
                {"seed": seed, "score": score, "derived_from": None if source is None else str(source)}
                for seed, score in enumerate(model.scores)
            ]
            for name, model in zip(names, models, strict=True)
            for source in [sources.get(int(name))]
        }
    )


def is_false(claims: SequentialClaims, scores: Sequence[float]) -> bool:
    """Return whether `claims` has one that is not true of the `scores`."""
    true = dict(zip(claims.rows, scores, strict=True))
    lost = any(true[worse] >= true[better] - 1e-12 for worse, better in claims.worse_than.items())
    limit = max(scores) - claims.design.margin
    return lost or any(true[row] <= limit + 1e-12 for row in claims.good_enough)


Draw = Callable[[np.random.Generator, int], Truth]


def _drawn(
    rng: np.random.Generator, rows: Sequence[TrueRow], examples: int, seeds: int, losses: Sequence[float] = ()
) -> Truth:
    statistics = simulate(rng, rows, seeds=seeds, examples=examples)
    statistics += [derive(rng, statistics[0], loss, 0.002) for loss in losses]
    sources = {len(rows) + place: 0 for place in range(len(losses))}
    return Truth(
        [*(row.score for row in rows), *(rows[0].score - loss for loss in losses)], statistics, sources
    )


def _equal(number: int, examples: int) -> Draw:
    return lambda rng, seeds: _drawn(
        rng, [TrueRow(0.8, sd) for sd in rng.choice(_spreads(), number)], examples, seeds
    )


def _few_wide(rng: np.random.Generator, seeds: int) -> Truth:
    spreads = 0.01 * np.append(rng.uniform(0.3, 0.8, 24), [5.0] * 4)
    return _drawn(rng, [TrueRow(0.8, sd) for sd in spreads], 600, seeds)


def _boards(examples: int) -> Draw:
    scores, spreads = board_scores(BOARD), board_spreads(BOARD)

    def draw(rng: np.random.Generator, seeds: int) -> Truth:
        task = rng.integers(len(scores))
        rows = [TrueRow(score, sd) for score, sd in zip(scores[task], spreads[task], strict=True)]
        return _drawn(rng, [rows[place] for place in rng.permutation(len(rows))[:14]], examples, seeds)

    return draw


def _at_margin(examples: int) -> Draw:
    def draw(rng: np.random.Generator, seeds: int) -> Truth:
        behind = [0.0, *[MARGIN] * 5, *rng.uniform(0.02, 0.1, 6)]
        rows = [TrueRow(0.85 - loss, sd) for loss, sd in zip(behind, rng.choice(_spreads(), 12), strict=True)]
        return _drawn(rng, rows, examples, seeds)

    return draw


def _derived(rng: np.random.Generator, seeds: int) -> Truth:
    rows = [TrueRow(0.85 if not place else 0.8, sd) for place, sd in enumerate(rng.choice(_spreads(), 8))]
    return _drawn(rng, rows, 2000, seeds, [0.0, 0.002, MARGIN, 0.01])


SCENARIOS: dict[str, tuple[Draw, bool]] = {
    "12 equal rows, 600 examples": (_equal(12, 600), False),
    "12 equal rows, 600 examples, to the last seed": (_equal(12, 600), True),
    "12 equal rows, 5,000 examples, to the last seed": (_equal(12, 5_000), True),
    "28 equal rows, 600 examples, to the last seed": (_equal(28, 600), True),
    "24 equal rows of 0.3 to 0.8 points and 4 of 5, to the last seed": (_few_wide, True),
    "5 rows behind by the margin, 5,000 examples": (_at_margin(5_000), False),
    "5 rows behind by the margin, 600 examples, to the last seed": (_at_margin(600), True),
    "4 rows made from the best, 2,000 examples": (_derived, False),
    "14 rows of the board, 900 examples": (_boards(900), False),
    "14 rows of the board, 5,000 examples": (_boards(5_000), False),
}


def line(name: str, seed: int, draws: int, first: int, last: int) -> str:
    """Return one line of the table."""
    draw, to_the_last = SCENARIOS[name]
    rng = np.random.default_rng(seed)
    design, grid = Design(MARGIN, first, last), Design(MARGIN, last, last)
    false, boards, cells, settled, in_grid, false_grid = [], [], [], [], [], []
    for _ in range(draws):
        truth = draw(rng, last)
        raced, full = race(truth, design, to_the_last=to_the_last), race(truth, grid)
        false.append(is_false(raced.claims, truth.scores))
        false_grid.append(is_false(full.claims, truth.scores))
        boards.append(raced.is_board_false)
        rows = len(truth.scores)
        cells.append(raced.cells / (rows * last))
        settled.append(1 - len(raced.claims.open) / rows)
        in_grid.append(1 - len(full.claims.open) / rows)
    return (
        f"| {name} | {np.mean(false):.1%} | {np.mean(false_grid):.1%} | {1 - np.mean(cells):.0%} |"
        f" {np.mean(settled):.0%} | {np.mean(in_grid):.0%} | {np.mean(boards):.1%} | {draws} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(SCENARIOS))
    parser.add_argument("--first-seeds", type=int, default=3)
    parser.add_argument("--max-seeds", type=int, default=10)
    parser.add_argument("--draws", type=int, default=400)
    arguments = parser.parse_args()
    draws = arguments.draws // 10 if arguments.quick else arguments.draws
    print(f"seed {arguments.seed}, {arguments.first_seeds} to {arguments.max_seeds} seeds\n")
    print(
        "| simulated | any false claim | in the full grid | cells saved | settled | in the full grid |"
        " board afterwards | draws |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in SCENARIOS:
        if arguments.only in (None, name):
            print(line(name, arguments.seed, draws, arguments.first_seeds, arguments.max_seeds), flush=True)


if __name__ == "__main__":
    main()
