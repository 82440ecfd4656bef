"""The rows that no other beats in quality and some cost at once."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kdbench.board.statistics import TaskStatistics
from kdbench.stats import pareto_front
from kdbench.stats.resampling import Flags, Floats

FRONTS = {"L": "p50 latency", "P": "parameters", "C": "training cost: training and the teacher's part"}
"""What each letter holds against quality."""

_TRAINING_NOISE = 0.1
"""The same training takes as much longer on a machine that does something else, too."""


def fronts(rows: pd.DataFrame, statistics: TaskStatistics) -> dict[str, str]:
    """Return the letters of the fronts that each compared row is on, of `FRONTS`.

    Quality differs where a pair is shown to differ by itself. A row is faster where the intervals of both speed-ups
    do not overlap, and its training is shorter where it is by more than a tenth; parameters are taken as they are.

    Args:
        rows: one task's part of the table of rows.
        statistics: what its predictions show.
    """
    compared = rows.set_index("strategy").loc[list(statistics.rows)]
    quality = _numbers(compared["score"])
    better = statistics.shown_better()
    latency, parameters = _numbers(compared["p50_ms"]), _numbers(compared["total_parameters"])
    cost = _numbers(compared["train_s"]) + _numbers(compared["teacher_s"])
    low, high = _numbers(compared["speedup_low"]), _numbers(compared["speedup_high"])
    members = {
        "L": pareto_front(quality, latency, better, low[:, None] > high),
        "P": pareto_front(quality, parameters, better, _less(parameters)),
        "C": pareto_front(quality, cost, better, _less(cost, _TRAINING_NOISE)),
    }
    return {
        row: "".join(letter for letter in FRONTS if members[letter][place])
        for place, row in enumerate(statistics.rows)
    }


def _numbers(column: pd.Series[float]) -> Floats:
    return np.asarray(column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)


def _less(cost: Floats, noise: float = 0.0) -> Flags:
    """Return (rows, rows): whether a row costs less than another by more than `noise`, a share."""
    less: Flags = (1 + noise) * cost[:, None] < cost
    return less
