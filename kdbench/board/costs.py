"""Compute what it takes to obtain each row, and when its speed has repaid that."""

from __future__ import annotations

import pandas as pd

from kdbench.board.frames import Row, rows_of


def cost_per_million(row: Row, price_per_hour: float) -> float | None:
    """Return what a million examples cost on a machine of this price, all of whose cores answer in the best batches.

    None for a row that was not timed so; the price of one by one would be that of a machine which mostly waits.
    """
    per_second = row["best_batch_throughput_per_s"]
    return None if not per_second else 1_000_000 / per_second * price_per_hour / 3600


def with_cost_to_obtain(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with what it takes to obtain each row, and the calls after which its speed has repaid that."""
    obtained = {}
    for row in rows_of(table):
        cpu = [row["total_cpu_s"], row["train_cpu_s"], row["teacher_cpu_s"]]
        wall = [row["total_s"], row["train_s"], row["teacher_s"]]
        fit, train, teacher = wall if None in cpu else cpu
        tuning = row["tuning_s"] if None in cpu or row["tuning_cpu_s"] is None else row["tuning_cpu_s"]
        if None not in (fit, train, teacher):
            # The teacher's own row may find it trained: its fitting is then shorter than the training.
            obtained[row["task"], row["strategy"]] = (
                max(fit, train) + teacher + (tuning or 0) + (row["export_s"] or 0)
            )
    teachers = {row["task"]: row["strategy"] for row in rows_of(table[table["is_teacher"]])}
    costs: list[float | None] = []
    calls: list[float | None] = []
    for row in rows_of(table):
        cost = obtained.get((row["task"], row["strategy"]))
        base = obtained.get((row["task"], teachers.get(row["task"])))
        costs.append(cost)
        low = row["best_speedup_low"]
        if cost is None or base is None or row["is_teacher"] or low is None or low <= 1:
            calls.append(None)
            continue
        saved_s = row["best_p50_ms"] / 1000 * (row["best_speedup"] - 1)
        calls.append(max(0.0, cost - base) / saved_s)
    columns = pd.DataFrame({"obtain_s": costs, "break_even_calls": calls}, index=table.index, dtype="float64")
    return table.assign(**columns)
