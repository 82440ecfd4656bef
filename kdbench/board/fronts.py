"""Estimate for each row of a task how probably it is on the Pareto fronts of quality and a cost."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kdbench.board.statistics import TaskStatistics
from kdbench.stats.bootstrap import Floats
from kdbench.stats.fronts import SURE, drawn_costs, front_probabilities, relative_error

_TRAINING_NOISE = 0.13
"""The standard error of the logarithm of one training's seconds: where two cells share a machine, the longest training of
three seeds takes 1.24 times as long as the shortest (the median over the rows of a board)."""

FRONTS = {"front_latency": "L", "front_parameters": "P", "front_cost": "C"}
"""The columns with the probabilities, and the letter of each front."""


def front_columns(rows: pd.DataFrame, statistics: TaskStatistics) -> dict[str, dict[str, float | None]]:
    """Return by compared row the probability that it is on each front of `FRONTS`, over test sets, seeds and timings.

    Latency is known as well as the speed-up's interval tells, training with the teacher's part as well as such durations
    repeat, parameters exactly. `rows` are those of one task.
    """
    if not statistics.rows:
        return {}
    compared = rows.set_index("strategy").loc[list(statistics.rows)]
    draws = len(statistics.drawn)
    speedup = _numbers(compared["speedup"])
    timing_error = relative_error(_numbers(compared["speedup_low"]), _numbers(compared["speedup_high"]))
    training = _numbers(compared["train_s"]) + _numbers(compared["teacher_s"])
    training_error = _TRAINING_NOISE / np.sqrt(_numbers(compared["seeds"]))
    costs = {
        "front_latency": drawn_costs(1 / speedup, timing_error, draws),
        "front_parameters": drawn_costs(_numbers(compared["total_parameters"]), 0 * training_error, draws),
        "front_cost": drawn_costs(training, training_error, draws),
    }
    shares = {name: front_probabilities(statistics.drawn, cost) for name, cost in costs.items()}
    return {
        row: {name: None if np.isnan(own[place]) else float(own[place]) for name, own in shares.items()}
        for place, row in enumerate(statistics.rows)
    }


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
