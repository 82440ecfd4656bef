"""Estimate for each row of a task how probably it is on the Pareto fronts of quality and a cost."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kdbench.board.statistics import ALPHA, TaskStatistics
from kdbench.stats.bootstrap import Floats
from kdbench.stats.fronts import SURE, drawn_costs, front_probabilities, relative_error

_CPU_NOISE = 0.06
"""The standard error of the logarithm of one training's processor seconds: of eight equal trainings on a machine with five
times as many runnable processes as cores, whose clock showed 0.12 (`docs/measuring.md`)."""
_CLOCK_NOISE = 0.13
"""That of its seconds: where two cells share a machine, the longest training of three seeds takes 1.24 times as long as the
shortest (the median over the rows of a board)."""

FRONTS = {"front_latency": "L", "front_parameters": "P", "front_cost": "C"}
"""The columns with the probabilities, and the letter of each front."""


def front_columns(rows: pd.DataFrame, statistics: TaskStatistics) -> dict[str, dict[str, float | None]]:
    """Return by compared row the probability that it is on each front of `FRONTS`, over test sets, seeds and timings.

    Latency is that in each row's best back end, known as well as the interval of its speed-up over the one reference
    tells; training with the teacher's part is known as well as such costs repeat, parameters exactly. A precision that the
    processor emulates trades no speed for quality: such a row is on the front of latency only if it is significantly
    better than every faster one. `rows` are those of one task.
    """
    if not statistics.rows:
        return {}
    compared = rows.set_index("strategy").loc[list(statistics.rows)]
    draws = len(statistics.drawn)
    speedup, low, high = (_numbers(compared[f"best_eager_speedup{end}"]) for end in ("", "_low", "_high"))
    timing_error = relative_error(low, high)
    training, noise = training_costs(compared)
    training_error = noise / np.sqrt(_numbers(compared["seeds"]))
    emulated = compared["emulated"].notna().to_numpy(dtype=np.bool_)
    costs = {
        "front_latency": drawn_costs(1 / speedup, timing_error, draws),
        "front_parameters": drawn_costs(_numbers(compared["total_parameters"]), 0 * training_error, draws),
        "front_cost": drawn_costs(training, training_error, draws),
    }
    assert statistics.pairs is not None  # there are rows
    better = (statistics.pairs.p < ALPHA) & (statistics.pairs.difference > 0)
    immune = {"front_latency": emulated & ~better.T}
    shares = {
        name: front_probabilities(statistics.drawn, cost, immune.get(name)) for name, cost in costs.items()
    }
    return {
        row: {name: None if np.isnan(own[place]) else float(own[place]) for name, own in shares.items()}
        for place, row in enumerate(statistics.rows)
    }


def training_costs(rows: pd.DataFrame) -> tuple[Floats, float]:
    """Return (rows,): the processor seconds of training with the teacher's part; of all, or else the seconds of all.

    The other number is the standard error of the logarithm of one training.
    """
    cpu = _numbers(rows["train_cpu_s"]) + _numbers(rows["teacher_cpu_s"])
    wall = _numbers(rows["train_s"]) + _numbers(rows["teacher_s"])
    return (cpu, _CPU_NOISE) if np.array_equal(np.isnan(cpu), np.isnan(wall)) else (wall, _CLOCK_NOISE)


def letters(shares: dict[str, float | None]) -> str | None:
    """Return the fronts that a row is shown to be on as capitals, those that it may be on as small letters."""
    parts = [
        letter if share >= SURE else letter.lower()
        for name, letter in FRONTS.items()
        if (share := shares[name]) is not None and share >= 1 - SURE
    ]
    return "".join(parts) or None


def _numbers(column: pd.Series[float]) -> Floats:
    return np.asarray(column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
