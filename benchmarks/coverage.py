"""Simulate how often the board's intervals cover the truth, and how often its claims are false.

    python benchmarks/coverage.py [--quick] [--seed 0] [--save FILE] [--before FILE]

Rows whose true scores are known are drawn with spreads over seeds like those of `leaderboards/standard`, and judged by
the project's own functions. The table has a line per statistic; ``--save`` writes the numbers as JSON, and ``--before``
shows those of another revision beside them. About seven minutes on one core; ``--quick`` takes a tenth of the draws.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simulated_calls
import simulated_queues
from simulated_rows import Floats, TrueRow, board_scores, board_spreads, derive, simulate

from kdbench.api.predictions import Predictions
from kdbench.board.pairing import Pairing
from kdbench.board.statistics import ALPHA, MARGIN
from kdbench.evaluation.diagnostics import (
    calibration_statistics,
    expected_calibration_error,
    squared_calibration_error,
)
from kdbench.evaluation.metrics import METRICS
from kdbench.stats.bootstrap import Resampled, resample, root_of
from kdbench.stats.comparisons import PairwiseDifferences, holm, holm_pairs, pairwise_differences
from kdbench.stats.fronts import SURE, drawn_costs, front_probabilities
from kdbench.stats.intervals import bootstrap_interval, drawn_means, resampled_interval
from kdbench.stats.ranking import rank_intervals
from kdbench.stats.seed_variance import SeedSpread, seed_spreads

BOARD = Path(__file__).parent.parent / "leaderboards" / "standard" / "cells.csv"
RESAMPLES = 400
EXAMPLES = 600
SCORES = {"accuracy": 0.8, "f1": 0.75, "matthews": 0.5, "spearman": 0.85}


@dataclass(frozen=True)
class Line:
    """A simulated share."""

    name: str
    share: float
    wanted: str
    """What the share should be."""
    draws: int


@dataclass(frozen=True)
class Judged:
    """A simulated board as kdbench judges it."""

    models: list[Resampled]
    spreads: list[SeedSpread | None]
    pairs: PairwiseDifferences

    @property
    def holm_p(self) -> Floats:
        """(rows, rows)."""
        return holm_pairs(self.pairs.p)


def judged(
    statistics: list[Floats], metric: str = "accuracy", derived: Mapping[int, int] | None = None
) -> Judged:
    """Return what kdbench says of rows, some of which are `derived` from others, given by their places."""
    scored = METRICS[metric]
    models = resample(
        statistics,
        scored.score,
        score_range=scored.score_range,
        resamples=RESAMPLES,
        rescore=scored.own_rescore,
    )
    spreads = seed_spreads([model.scores.tolist() for model in models])
    sources = {str(row): str(source) for row, source in (derived or {}).items()}
    names = [str(row) for row in range(len(models))]
    cells = {
        name: [
            {"seed": seed, "score": score, "derived_from": sources.get(name)}
            for seed, score in enumerate(model.scores)
        ]
        for name, model in zip(names, models, strict=True)
    }
    paired = Pairing(cells).spreads(names)
    return Judged(
        models, spreads, pairwise_differences(models, spreads, np.eye(len(models), dtype=bool), paired)
    )


def intervals(rng: np.random.Generator, draws: int) -> Iterator[Line]:
    """The intervals of scores and of differences, on boards of twelve rows of equal truth."""
    for metric, score in SCORES.items():
        covered, pairs = [], []
        for _ in range(draws // 10):
            sds = rng.choice(_spreads(), 12)
            board = judged(
                simulate(rng, [TrueRow(score, sd) for sd in sds], metric=metric, examples=EXAMPLES), metric
            )
            for model, spread in zip(board.models, board.spreads, strict=True):
                low, high = resampled_interval(model, spread=spread)
                covered.append(low <= score <= high)
            pairs += [board.pairs.p[i, i + 1] >= ALPHA for i in range(0, 12, 2)]
        yield Line(f"interval of a score, {metric}", float(np.mean(covered)), "93 to 97%", len(covered))
        yield Line(f"interval of a difference, {metric}", float(np.mean(pairs)), "93 to 97%", len(pairs))

    name, covered = "interval of a score, accuracy of 99% on 200 examples, one seed", []
    for _ in range(draws):
        (answers,) = simulate(rng, [TrueRow(0.99, 0.0)], seeds=1, examples=200)
        low, high = bootstrap_interval(answers, METRICS["accuracy"].score, resamples=RESAMPLES)
        covered.append(low <= 0.99 <= high)
    yield Line(name, float(np.mean(covered)), "at least 93%", len(covered))


def calibration(rng: np.random.Generator, draws: int) -> Iterator[Line]:
    """The interval of the calibration error of models whose logits are too large."""
    for factor in (1.0, 1.4, 2.0):
        true, covered = expected_calibration_error(_overconfident(rng, 200_000, factor)), []
        for _ in range(draws // 4):
            statistics = calibration_statistics(_overconfident(rng, EXAMPLES, factor))[None]
            (squared,) = resample([statistics], squared_calibration_error, resamples=RESAMPLES)
            low, high = resampled_interval(root_of(squared))
            covered.append(true is not None and low <= true <= high)
        name = f"interval of a calibration error of {100 * (true or 0):.0f}%"
        yield Line(name, float(np.mean(covered)), "at least 93%", len(covered))


def _overconfident(rng: np.random.Generator, examples: int, factor: float) -> Predictions:
    """Return answers of two classes whose logits are the true ones times `factor`."""
    logits = rng.normal(0, 2.5, examples)
    labels = (rng.random(examples) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    both = factor * np.stack([np.zeros(examples), logits], axis=1)
    return Predictions(np.arange(examples), both.astype(np.float32), labels)


def _spreads() -> list[float]:
    return [sd for of_task in board_spreads(BOARD) for sd in of_task]


def families(rng: np.random.Generator, draws: int) -> Iterator[Line]:
    """The chance of any false difference among 28 rows of equal truth, Holm-corrected."""
    shapes: Mapping[str, Callable[[], Floats]] = {
        "0.3 to 5 points, log-uniform": lambda: 0.01 * np.exp(rng.uniform(np.log(0.3), np.log(5), 28)),
        "0.3 to 5 points, uniform": lambda: 0.01 * rng.uniform(0.3, 5, 28),
        "24 of 0.3 to 0.8, 4 of 5 points": lambda: 0.01 * np.append(rng.uniform(0.3, 0.8, 24), [5.0] * 4),
        "all of 1 point": lambda: np.full(28, 0.01),
        "those of the board": lambda: rng.choice(_spreads(), 28),
    }
    for name, spreads in shapes.items():
        false = []
        for _ in range(draws // 5):
            board = judged(simulate(rng, [TrueRow(0.8, sd) for sd in spreads()], examples=EXAMPLES))
            false.append(board.holm_p.min() < ALPHA)
        yield Line(f"any false difference, 28 rows, {name}", float(np.mean(false)), "at most 6%", len(false))


def derived(rng: np.random.Generator, draws: int) -> Iterator[Line]:
    """A row made from a trained one, seed by seed, among rows with the spreads of the board."""
    for loss in (0.01, 0.005, 0.0):
        covered, found, no_loss = [], [], []
        for _ in range(draws // 4):
            sds = rng.choice(_spreads(), 12)
            others = simulate(rng, [TrueRow(0.8, sd) for sd in sds], examples=900)
            losses = [loss, *rng.uniform(0, 0.01, 3)]
            rows = others + [derive(rng, others[0], lost, 0.002) for lost in losses]
            board = judged(rows, derived=dict.fromkeys(range(12, 16), 0))
            difference = board.pairs.of(0, 12)
            covered.append(difference.low <= loss <= difference.high)
            found.append(difference.p < ALPHA)
            no_loss.append(difference.is_equivalent(MARGIN))
        points = f"a derived row that loses {100 * loss:g} points"
        yield Line(f"interval of the loss, {points}", float(np.mean(covered)), "93 to 97%", len(covered))
        if loss > 0.005:
            yield Line(f"loss found, {points}", float(np.mean(found)), "the more the better", len(found))
        wanted = "at most 5%" if loss >= 0.005 else "the more the better"
        yield Line(f"said to lose nothing, {points}", float(np.mean(no_loss)), wanted, len(no_loss))


def declared(rng: np.random.Generator, draws: int) -> Iterator[Line]:
    """The family of a page: nine rows compared with one control, their intervals together, and five derived rows."""
    all_covered, no_loss = [], []
    for _ in range(draws // 4):
        truths = rng.choice([0.8, 0.79, 0.815], 10)
        sds = rng.choice(_spreads(), 10)
        rows = simulate(rng, [TrueRow(t, sd) for t, sd in zip(truths, sds, strict=True)], examples=EXAMPLES)
        board = judged(
            rows + [derive(rng, rows[0], MARGIN, 0.002) for _ in range(5)],
            derived=dict.fromkeys(range(10, 15), 0),
        )
        alpha = ALPHA / 14
        ends = [board.pairs.interval(place, 0, alpha) for place in range(1, 15)]
        true = [*(truths[1:] - truths[0]), *[-MARGIN] * 5]
        all_covered.append(all(low <= t <= high for (low, high), t in zip(ends, true, strict=True)))
        p = holm(board.pairs.equivalence_p(MARGIN)[range(10, 15), 0])
        no_loss.append((p < ALPHA).any())
    yield Line(
        "all intervals of a page's 14 declared differences",
        float(np.mean(all_covered)),
        "at least 94%",
        len(all_covered),
    )
    yield Line(
        "any of five rows that lose the margin is said to lose nothing",
        float(np.mean(no_loss)),
        "at most 6%",
        len(no_loss),
    )


def ranks(rng: np.random.Generator, draws: int) -> Iterator[Line]:
    """The ranks of boards with the true scores and spreads of the board's tasks."""
    false = []
    for _ in range(draws // 5):
        task = rng.integers(3)
        scores = np.array(board_scores(BOARD)[task])
        rows = [TrueRow(score, sd) for score, sd in zip(scores, board_spreads(BOARD)[task], strict=True)]
        board = judged(simulate(rng, rows, examples=EXAMPLES))
        ranks = rank_intervals((board.holm_p < ALPHA) & (board.pairs.difference > 0))
        above, at_least = (scores[:, None] > scores).sum(axis=0), (scores[:, None] >= scores).sum(axis=0)
        false.append(
            any(
                own.best > most or own.worst < 1 + least
                for own, least, most in zip(ranks, above, at_least, strict=True)
            )
        )
    yield Line("any rank claimed that is not true", float(np.mean(false)), "at most 6%", len(false))


def fronts(rng: np.random.Generator, draws: int) -> Iterator[Line]:
    """The fronts of quality and an independent cost on boards with the scores and spreads of the board's tasks."""
    left_out, claimed, named, true = [], [], [], []
    for _ in range(draws // 5):
        task = rng.integers(3)
        scores = np.array(board_scores(BOARD)[task])
        rows = [TrueRow(score, sd) for score, sd in zip(scores, board_spreads(BOARD)[task], strict=True)]
        board = judged(simulate(rng, rows, examples=EXAMPLES))
        costs, error = np.exp(rng.normal(0, 0.7, len(rows))), np.full(len(rows), 0.03)
        observed = costs * np.exp(error * rng.normal(size=len(rows)))
        drawn = [drawn_means(*one, rng) for one in zip(board.models, board.spreads, strict=True)]
        shares = front_probabilities(
            np.stack(drawn, axis=1), drawn_costs(observed, error, RESAMPLES, int(rng.integers(2**32)))
        )
        is_on = front_probabilities(scores[None], costs[None]) == 1
        left_out.append((is_on & (shares < 1 - SURE)).any())
        claimed.append((~is_on & (shares >= SURE)).any())
        named.append(float((shares >= 1 - SURE).mean()))
        true.append(float(is_on.mean()))
    name = "28 rows, their scores and costs uncertain"
    yield Line(
        f"a row on the front is left out, {name}", float(np.mean(left_out)), "at most 6%", len(left_out)
    )
    yield Line(
        f"a row off the front is said to be on it, {name}",
        float(np.mean(claimed)),
        "at most 6%",
        len(claimed),
    )
    wanted = f"not far above {np.mean(true):.0%}"
    yield Line(f"rows that may be on the front, {name}", float(np.mean(named)), wanted, len(named))


def recommendations(rng: np.random.Generator, draws: int) -> Iterator[Line]:
    """A noisy cheap row of 76 beside a best one of 84: how often it counts as good enough."""
    chosen = []
    for _ in range(draws // 4):
        rows = [TrueRow(0.84, 0.005), TrueRow(0.76, 0.05)]
        rows += [TrueRow(0.8, sd) for sd in rng.choice(_spreads(), 10)]
        board = judged(simulate(rng, rows, examples=EXAMPLES))
        best = int(np.argmax([model.scores.mean() for model in board.models]))
        others = [row for row in range(12) if row != best]
        p = dict(zip(others, holm(board.pairs.noninferiority_p(MARGIN)[others, best]), strict=True))
        chosen.append(best == 1 or p[1] < ALPHA)
    yield Line("a cheap row 8 points worse is recommended", float(np.mean(chosen)), "at most 5%", len(chosen))


def one_seed(rng: np.random.Generator, draws: int) -> Iterator[Line]:
    """Boards of one seed and strategies of equal truth: whether a difference between strategies is claimed."""
    false = []
    for _ in range(draws // 4):
        rows = [TrueRow(0.8, sd) for sd in rng.choice(_spreads(), 28)]
        board = judged(simulate(rng, rows, seeds=1, examples=EXAMPLES))
        # Without a spread over seeds, a board says that its ranks are about these weights alone.
        says_strategies = all(spread is not None for spread in board.spreads)
        false.append(says_strategies and board.holm_p.min() < ALPHA)
    yield Line(
        "one seed: any false difference between strategies", float(np.mean(false)), "at most 6%", len(false)
    )


def timings(rng: np.random.Generator, draws: int) -> Iterator[Line]:
    """The intervals of the latency phase: processes that differ, rounds that resemble each other, repeated inputs."""
    for name, share, count in simulated_calls.coverage(rng, draws // 4):
        yield Line(name, share, "at least 93%", count)


def queues(rng: np.random.Generator, draws: int) -> Iterator[Line]:
    """The intervals of served requests, which wait for each other."""
    for name, share, count in simulated_queues.coverage(rng, draws // 4):
        yield Line(name, share, "at least 93%", count)


SIMULATIONS = (
    intervals,
    calibration,
    families,
    derived,
    declared,
    ranks,
    fronts,
    recommendations,
    one_seed,
    timings,
    queues,
)


def table(lines: list[Line], before: Mapping[str, float]) -> str:
    """Return the lines as a Markdown table."""
    text = ["| simulated | wanted | before | now | draws |", "|---|---|---:|---:|---:|"]
    for line in lines:
        then = f"{before[line.name]:.1%}" if line.name in before else "-"
        text.append(f"| {line.name} | {line.wanted} | {then} | {line.share:.1%} | {line.draws:,} |")
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=[part.__name__ for part in SIMULATIONS])
    parser.add_argument("--save", type=Path)
    parser.add_argument("--before", type=Path)
    arguments = parser.parse_args()
    draws = 200 if arguments.quick else 2000
    chosen = [part for part in SIMULATIONS if arguments.only in (None, part.__name__)]
    lines = [line for part in chosen for line in part(np.random.default_rng(arguments.seed), draws)]
    before = json.loads(arguments.before.read_text()) if arguments.before else {}
    print(f"seed {arguments.seed}\n\n{table(lines, before)}")
    if arguments.save:
        arguments.save.write_text(json.dumps({line.name: line.share for line in lines}, indent=1) + "\n")


if __name__ == "__main__":
    main()
