"""Compute all tables of a board from a results folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from kdbench.api.task import TaskKind
from kdbench.board.cells import latency_points, shown_timings, with_behaviour
from kdbench.board.columns import ACROSS_COLUMNS
from kdbench.board.frames import Row, first_row, rows_of
from kdbench.board.load import Loaded
from kdbench.board.rows import aggregate
from kdbench.board.serving import loads_of
from kdbench.board.statistics import MARGIN, Known, TaskStatistics, all_statistics
from kdbench.results.records import Status
from kdbench.stats.ranking import interquartile_mean, score_ranks


def across_tasks(rows: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row per strategy, best average rank first, those without one last.

    Strategies are ranked only if each of their cells succeeded and some seed is on every task, and among these alone
    (`task_ranks`). A strategy may have more seeds on one task than on another: the mean score counts. The interquartile mean
    is over tasks and seeds of (score - majority) / (teacher - majority), where majority is the score of always giving the
    most frequent answer; only seeds that the strategy has on every task take part, so that no task weighs more. It is
    missing where some task cannot be normalized.
    """
    strategies = _by_strategy(cells)
    tasks = sorted(set(cells["task"]))
    missing = {name: _missing(own, tasks) for name, own in strategies.items()}
    ranked = task_ranks(rows, cells).mean(axis=1).to_dict()
    copies = copies_of(rows)
    scales = {task: _scale(rows[rows["task"] == task], cells[cells["task"] == task]) for task in tasks}
    unscaled = [f"{task}: {scale}" for task, scale in scales.items() if isinstance(scale, str)]
    lines = [
        {
            "strategy": name,
            "tasks": len({cell["task"] for cell in own}),
            "average_rank": ranked.get(name),
            "copy_of": copies.get(name),
            "missing": missing[name],
            "not_normalized": "; ".join(unscaled) or None,
            **(_normalized_mean(own, scales) if missing[name] is None and not unscaled else {}),
        }
        for name, own in strategies.items()
    ]
    table = pd.DataFrame(lines, columns=list(ACROSS_COLUMNS)).astype(ACROSS_COLUMNS)
    return table.sort_values(["average_rank", "strategy"], na_position="last").reset_index(drop=True)


def complete_scores(rows: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Return (strategies, tasks): the scores of the strategies whose cells on every task of `rows` all succeeded."""
    tasks = sorted(set(rows["task"]))
    strategies = _by_strategy(cells[cells["task"].isin(tasks)])
    complete = [name for name, own in strategies.items() if _missing(own, tasks) is None]
    scores = rows.pivot(index="strategy", columns="task", values="score").loc[complete, tasks]
    return scores.astype("float64").round(12)  # means of equal scores can differ in the last bit


def task_ranks(rows: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Return (strategies, tasks): the ranks by score of the strategies with `complete_scores`; copies count once."""
    scores = complete_scores(rows, cells)
    copies = copies_of(rows)
    places = {name: place for place, name in enumerate(scores.index)}
    # A copy whose source is not ranked is its own model.
    models = [places.get(copies.get(name, name), places[name]) for name in scores.index]
    return pd.DataFrame(score_ranks(scores.to_numpy(), models), index=scores.index, columns=scores.columns)


def copies_of(rows: pd.DataFrame) -> dict[str, str]:
    """Return the strategies that are made from another and shown to lose nothing on any task, and what they are made from."""
    sources: dict[str, str] = {}
    for strategy, own in rows.groupby("strategy"):
        derived, is_copy = own["derived_from"].dropna().unique(), own["no_loss"].fillna(False).astype(bool)
        if len(derived) == 1 and is_copy.all():
            sources[str(strategy)] = str(derived[0])
    return {name: _origin(name, sources) for name in sources}


def _origin(name: str, sources: Mapping[str, str]) -> str:
    while name in sources:
        name = sources[name]
    return name


def _by_strategy(cells: pd.DataFrame) -> dict[str, list[Row]]:
    cells = cells[["strategy", "task", "seed", "status", "score"]]  # of many columns
    ordered = rows_of(cells.sort_values(["strategy", "task", "seed"]))
    return {name: list(own) for name, own in groupby(ordered, key=lambda cell: str(cell["strategy"]))}


def _missing(cells: list[Row], tasks: list[str]) -> str | None:
    """Return which cells a strategy lacks for an average over `tasks`, or None where it has all."""
    parts = []
    for task in tasks:
        statuses = {cell["status"] for cell in cells if cell["task"] == task}
        if not statuses:
            parts.append(f"{task} (not run)")
        elif bad := sorted(statuses - {Status.OK.value}):
            parts.append(f"{task} ({', '.join(bad)})")
    if not parts and not _shared_seeds(cells, tasks):
        parts.append(f"{tasks[-1]} (no seed that it has on every other task)")
    return ", ".join(parts) or None


def _shared_seeds(cells: list[Row], tasks: Iterable[str]) -> set[int]:
    """Return the seeds that a strategy has on every one of `tasks`."""
    return set.intersection(*({cell["seed"] for cell in cells if cell["task"] == task} for task in tasks))


def _scale(rows: pd.DataFrame, cells: pd.DataFrame) -> tuple[float, float] | str:
    """Return the scores that are normalized to 0 and to 1 on one task, or why there are none."""
    majority = first_row(cells)["majority_score"]
    if majority is None and cells["kind"].iloc[0] == TaskKind.SEQUENCE_REGRESSION:
        majority = 0.0  # the correlation of constant answers
    teachers = rows["score"][rows["is_teacher"]].dropna()
    if teachers.empty:
        return "its teacher has no score"
    if majority is None:
        return "no score of the most frequent label was recorded"
    if teachers.iloc[0] <= majority:
        return "its teacher is no better than always giving the most frequent answer"
    return float(majority), float(teachers.iloc[0])


def _normalized_mean(cells: list[Row], scales: dict[str, tuple[float, float] | str]) -> dict[str, Any]:
    shared = _shared_seeds(cells, scales)
    by_task = {}
    for task, scale in scales.items():
        assert not isinstance(scale, str)
        zero, one = scale
        counted = [cell for cell in cells if cell["task"] == task and cell["seed"] in shared]
        by_task[task] = [(cell["score"] - zero) / (one - zero) for cell in counted]
    mean = interquartile_mean(list(by_task.values()))
    means = {task: fmean(scores) for task, scores in by_task.items()}
    worst = min(means, key=lambda task: means[task])
    name = "interquartile_mean"
    return {
        name: mean.value,
        f"{name}_low": mean.low,
        f"{name}_high": mean.high,
        "worst_task": worst,
        "worst_normalized": means[worst],
    }


@dataclass(frozen=True, eq=False)
class Tables:
    """All tables that a board's outputs are drawn from."""

    rows: pd.DataFrame
    """One row per strategy and task."""
    cells: pd.DataFrame
    """One row per strategy, task and seed."""
    points: pd.DataFrame
    """One row per cell, back end, batch size and length that was timed."""
    loads: pd.DataFrame
    """One row per cell and load of requests that its model served."""
    across: pd.DataFrame
    """One row per strategy, over all tasks."""
    statistics: Mapping[str, TaskStatistics]
    """The statistics of each task's predictions."""


def board_tables(
    loaded: Loaded, results: Path, known: Known | None = None, jobs: int = 1, margin: float = MARGIN
) -> Tables:
    """Return the tables of a board, whose predictions are in `results`.

    `known` caches results, and new ones are added to it; `jobs` processes share the work. Differences below
    `margin`, a fraction, are no loss.
    """
    known = Known() if known is None else known
    statistics = all_statistics(loaded.cells, results, known, jobs, loaded.metrics)
    behaviour = {key: value for of_task in statistics.values() for key, value in of_task.behaviour.items()}
    cells = with_behaviour(loaded.cells, behaviour)
    rows = aggregate(cells, statistics, margin)
    return Tables(
        rows=rows,
        cells=cells,
        points=latency_points(cells, loaded.timings),
        loads=loads_of(cells, shown_timings(loaded.timings, set(cells["key"]))),
        across=across_tasks(rows, cells),
        statistics=statistics,
    )
