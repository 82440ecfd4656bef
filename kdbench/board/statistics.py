"""Compute the statistics of one task's predictions: intervals of the rows' scores, and which rows differ."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from kdbench.api.metric import Metric
from kdbench.api.predictions import Predictions
from kdbench.board.behaviour_intervals import BehaviourIntervals, Intervals, KnownResampled
from kdbench.board.diagnostics import Behaviour, KnownBehaviour, KnownByClass, TaskBehaviour, by_class
from kdbench.board.frames import Row, rows_of
from kdbench.board.parallel import spread
from kdbench.board.predictions import KnownAnswers, MadeFrom, TaskAnswers, made_from
from kdbench.evaluation.metrics import METRICS
from kdbench.stats.bootstrap import Floats
from kdbench.stats.comparisons import PairwiseDifferences, holm_pairs, smallest_difference
from kdbench.stats.intervals import Gap
from kdbench.stats.ranking import RankInterval, rank_intervals

ALPHA = 0.05
"""The significance level of every test on a board."""
MARGIN = 0.005
"""The default margin of tests of equivalence, as a fraction: 0.5 points."""


@dataclass(frozen=True)
class Power:
    """The true differences that tests of the median pair of a task's rows detect with a power of 80%."""

    alone: float
    """At the level `ALPHA` for this pair alone."""
    among_all: float
    """After the correction for all pairs, at its strictest."""
    pairs: int


@dataclass(frozen=True, eq=False)
class TaskStatistics:
    """The statistics of one task's predictions."""

    rows: tuple[str, ...] = ()
    """The rows that are compared with each other: scored on the same examples, with predictions that can be read."""
    pairs: PairwiseDifferences | None = None
    """The differences between `rows`; None where there are no rows."""
    holm_p: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    """(rows, rows): p of each pair, Holm-corrected over all pairs of the task."""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    gaps: Mapping[str, Gap] = field(default_factory=dict)
    """For each row that has a control, where there is a teacher."""
    kept: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """The interval of each row's score as a share of the teacher's, except the teacher's own."""
    behaviour: Mapping[str, Behaviour] = field(default_factory=dict)
    """By cell key."""
    behaviour_intervals: Intervals = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    """Why a row is not among `rows` although it has a score."""
    drawn: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    """(resamples, rows): the scores of `rows` for drawn test sets and drawn seeds."""
    power: Power | None = None
    seeds_are_known: bool = True
    """Whether differences between `rows` cover the variation over seeds; else they are about these weights alone."""

    def ranks(self) -> dict[str, RankInterval]:
        """Return the interval of each compared row's rank, by which rows are significantly better than it."""
        if self.pairs is None:
            return {}
        better = (self.holm_p < ALPHA) & (self.pairs.difference > 0)
        return dict(zip(self.rows, rank_intervals(better), strict=True))


@dataclass
class Known:
    """Caches what was computed from predictions, for the next drawing of a board."""

    answers: KnownAnswers = field(default_factory=dict)
    behaviour: KnownBehaviour = field(default_factory=dict)
    by_class: KnownByClass = field(default_factory=dict)
    resampled: KnownResampled = field(default_factory=dict)
    statistics: dict[MadeFrom, TaskStatistics] = field(default_factory=dict)
    """By all cells of a task."""

    def update(self, other: Known) -> None:
        """Add the results that `other` caches."""
        self.answers.update(other.answers)
        self.behaviour.update(other.behaviour)
        self.by_class.update(other.by_class)
        self.resampled.update(other.resampled)
        self.statistics.update(other.statistics)


def all_statistics(
    cells: pd.DataFrame,
    results: Path,
    known: Known,
    jobs: int = 1,
    metrics: Mapping[str, Metric] = METRICS,
) -> dict[str, TaskStatistics]:
    """Return by task the `task_statistics` of the table of cells.

    Where nothing is cached in `known`, `jobs` processes share the tasks.
    """
    tasks = {str(task): of_task for task, of_task in cells.groupby("task")}
    if known.answers or jobs == 1:
        return {task: task_statistics(of_task, results, known, metrics) for task, of_task in tasks.items()}
    computed = {}
    answers = spread(partial(_uncached, results, metrics), tasks.values(), jobs)
    for task, (statistics, cache) in zip(tasks, answers, strict=True):
        computed[task] = statistics
        known.update(cache)
    return computed


def _uncached(
    results: Path, metrics: Mapping[str, Metric], cells: pd.DataFrame
) -> tuple[TaskStatistics, Known]:
    known = Known()
    return task_statistics(cells, results, known, metrics), known


def task_statistics(
    cells: pd.DataFrame, results: Path, known: Known, metrics: Mapping[str, Metric] = METRICS
) -> TaskStatistics:
    """Return the statistics of one task's predictions in `results`.

    Args:
        cells: the task's part of the table of cells.
        results: the folder with the predictions.
        known: cached results, to which new ones are added.
        metrics: the registered metrics.
    """
    rows_of_cells = rows_of(cells)
    key = made_from(rows_of_cells)
    if key in known.statistics:
        return known.statistics[key]
    behaviour = TaskBehaviour(rows_of_cells, results, known.behaviour)
    bounds = BehaviourIntervals(results, behaviour, known.resampled)

    def watch(of_row: list[Row], predictions: Sequence[Predictions]) -> None:
        known.by_class[made_from(of_row)] = by_class(of_row, predictions)
        for cell, own in zip(of_row, predictions, strict=True):
            behaviour.add(cell, own)
        bounds.add(of_row, predictions, metrics.get(of_row[0]["metric"]))

    answers = TaskAnswers(cells, results, known.answers, watch, metrics)
    problems = answers.read(answers.rows) | {row: _LEAKED for row in answers.rows if _is_leaked(answers, row)}
    read = [row for row in answers.rows if row not in problems]
    rows = _on_same_examples(answers, read)
    problems |= {
        row: "scored on other examples, or by other groups of them, than most rows"
        for row in read
        if row not in rows
    }
    pairs = answers.differences(rows) if rows else None
    statistics = TaskStatistics(
        rows=tuple(rows),
        pairs=pairs,
        holm_p=np.zeros((0, 0)) if pairs is None else holm_pairs(pairs.p),
        intervals={row: found for row in answers.rows if (found := answers.interval(row)) is not None},
        gaps=_gaps(cells, answers, rows),
        kept=_kept(cells, answers, rows),
        behaviour=behaviour.all(),
        behaviour_intervals=bounds.all({row: answers.cells(row) for row in answers.rows}),
        problems=problems,
        drawn=answers.drawn(rows),
        power=None if pairs is None else _power(pairs),
        seeds_are_known=all(answers.spreads[row] is not None for row in rows),
    )
    if not problems:
        known.statistics[key] = statistics
    return statistics


_LEAKED = "its training has seen scored answers"


def _is_leaked(answers: TaskAnswers, row: str) -> bool:
    """Return whether a joint strategy of an earlier version has trained `row` on examples that it is scored on."""
    warnings = (warning for cell in answers.cells(row) for warning in cell["warnings"])
    return any(
        re.search(r"scored examples (are|stand) in the training data", warning) for warning in warnings
    )


def _on_same_examples(answers: TaskAnswers, rows: list[str]) -> list[str]:
    """Return those of `rows` that were scored on the same examples as most of them."""
    examples = [answers.examples(row) for row in rows]
    most = Counter(examples).most_common(1)
    return [row for row, own in zip(rows, examples, strict=True) if own == most[0][0]]


def _gaps(cells: pd.DataFrame, answers: TaskAnswers, rows: list[str]) -> dict[str, Gap]:
    teachers = cells["strategy"][cells["is_teacher"]]
    # A row that does not learn from the teacher is compared with its control, but has no gap to recover.
    controls = cells[cells["control"].notna() & cells["uses_teacher"]].drop_duplicates("strategy")
    if teachers.empty or teachers.iloc[0] not in rows:
        return {}
    return {
        row: answers.gap(row, control, teachers.iloc[0])
        for row, control in zip(controls["strategy"], controls["control"], strict=True)
        if row in rows and control in rows
    }


def _kept(cells: pd.DataFrame, answers: TaskAnswers, rows: list[str]) -> dict[str, tuple[float, float]]:
    teachers = cells["strategy"][cells["is_teacher"]]
    if teachers.empty or teachers.iloc[0] not in rows:
        return {}
    others = [row for row in rows if row != teachers.iloc[0]]
    return {row: ends for row in others if (ends := answers.kept(row, teachers.iloc[0])) is not None}


def _power(pairs: PairwiseDifferences) -> Power | None:
    above = np.triu_indices(len(pairs.p), k=1)
    errors, df = pairs.standard_error[above], pairs.df[above]
    differing = errors > 0
    if not differing.any():
        return None
    error, freedom = float(np.median(errors[differing])), float(np.median(df[differing]))
    return Power(
        alone=smallest_difference(error, freedom, alpha=ALPHA),
        among_all=smallest_difference(error, freedom, alpha=ALPHA / len(errors)),
        pairs=len(errors),
    )
