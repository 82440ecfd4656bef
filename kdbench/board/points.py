"""The latency of every cell by back end, batch size and length: a table of its own, a row a measurement."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from kdbench.board.timed import setting_of, timings_of_cells
from kdbench.timings import Timing

POINT_COLUMNS: dict[str, str] = {
    "task": "object",
    "strategy": "object",
    "seed": "int64",
    "back_end": "object",
    "device": "object",
    "batch_size": "int64",
    "length": "Int64",
    "calls": "int64",
    "p50_ms": "float64",
    "p90_ms": "float64",
    "p95_ms": "float64",
    "p99_ms": "float64",
    "throughput_per_s": "float64",
    "speedup": "float64",
    "speedup_low": "float64",
    "speedup_high": "float64",
    "reason": "object",
    "setting": "object",
}
"""The columns of the table of latencies; a missing length says that the sentences are the task's own."""


def latency_points(cells: pd.DataFrame, timings: Iterable[Timing]) -> pd.DataFrame:
    """Return one row a point that was timed or left out, of each of `cells` in its newest timing of every setting.

    Of one cell the setting that `shown_timings` shows comes first.
    """
    timed = timings_of_cells(timings, set(cells["key"]))
    rows = [
        {"task": task, "strategy": strategy, "seed": seed, "setting": setting_of(timing)}
        | {"back_end": part.back_end.value, "device": part.device}
        | point.model_dump()
        for task, strategy, seed, key in zip(
            cells["task"], cells["strategy"], cells["seed"], cells["key"], strict=True
        )
        for timing, model in timed.get(key, ())
        for part in model.back_ends
        for point in part.points
    ]
    return pd.DataFrame(rows, columns=list(POINT_COLUMNS)).astype(POINT_COLUMNS)
