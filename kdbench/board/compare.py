"""Compare two rows of a board task by task, and test which differences are significant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from kdbench.api.metric import Metric
from kdbench.api.task import TaskKind
from kdbench.board.frames import Row, rows_of
from kdbench.board.load import Loaded
from kdbench.board.predictions import Scored, TaskAnswers
from kdbench.board.rows import aggregate, has_score
from kdbench.board.statistics import ALPHA, MARGIN
from kdbench.errors import KdbenchError, UsageError, nearest
from kdbench.stats.comparisons import Difference, holm, smallest_difference
from kdbench.stats.significance import McNemar, almost_stochastic_order, approximate_randomization, mcnemar

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Wins:
    """Counts of scored examples, each seed's examples counted separately."""

    wins: int
    """On which the first row is right and the second is not; in regression, on which it is nearer to the label."""
    ties: int
    losses: int


def count_wins(a: Scored, b: Scored, seeds: Sequence[int]) -> Wins | None:
    """Count the examples on which `a` is better than, equal to and worse than `b`; None where there are no `seeds`.

    An example of several words is right if all of its words are. Both rows answer the same examples.
    """
    if not seeds:
        return None
    ahead = np.concatenate([_errors(b, seed) - _errors(a, seed) for seed in seeds])
    return Wins(int((ahead > 0).sum()), int((ahead == 0).sum()), int((ahead < 0).sum()))


def _errors(scored: Scored, seed: int) -> Floats:
    """Return (examples,): 0 for a right answer and 1 for a wrong one; in regression the absolute error."""
    pairs = zip(scored.answers(seed), scored.references(), strict=True)
    if scored.labels:
        return np.array([not np.array_equal(answer, label) for answer, label in pairs], dtype=np.float64)
    return np.array([abs(float(answer[0]) - float(label[0])) for answer, label in pairs])


@dataclass(frozen=True)
class Contrast:
    """The statistics of the difference between two rows on one task."""

    difference: Difference
    """The first row's score minus the second's, with the sampling variation of seeds and examples."""
    adjusted_p: float
    """The p of `difference`, Holm-corrected over the tasks compared."""
    margin: float
    """The difference, as a fraction, below which two scores count as equivalent."""
    smallest_detectable: float
    """The smallest true difference that one comparison of this precision detects with a power of 80%."""
    seeds_are_known: bool
    """Whether the interval covers the variation over seeds; otherwise it holds for these trained models alone."""
    randomization_p: float | None
    """By approximate randomization over the seeds that both rows have; holds for these trained models alone."""
    mcnemar: dict[int, McNemar]
    """By seed, for the seeds that both rows have; only where the score is the accuracy over texts."""
    almost_stochastic_order: tuple[float, float] | None = None
    """The epsilon of the first row over the second, and of the second over the first: see the function of this name.
    None where it was not requested, or a row has one seed."""
    wins: Wins | None = None
    """On how many examples each row is better, over the seeds that both have; None where they share none."""

    @property
    def is_significant(self) -> bool:
        """Whether the difference is significant at the level `ALPHA`, over all tasks compared."""
        return self.adjusted_p < ALPHA

    @property
    def is_equivalent(self) -> bool:
        """Whether the scores are shown to differ by less than the margin, in either direction (TOST at 5%)."""
        return self.difference.is_equivalent(self.margin)

    @property
    def sign(self) -> int:
        """1 where the first row is significantly better, -1 where it is significantly worse, else 0."""
        if not self.is_significant:
            return 0
        return 1 if self.difference.difference > 0 else -1


@dataclass(frozen=True)
class TaskComparison:
    """The comparison of two rows on one task."""

    task: str
    metric: str
    a: Row
    b: Row
    interval_a: tuple[float, float] | None
    interval_b: tuple[float, float] | None
    contrast: Contrast | None
    problem: str | None
    """Why there is no contrast."""


@dataclass(frozen=True)
class Comparison:
    """The comparison of two rows on every task on which both were run."""

    a: str
    b: str
    tasks: tuple[TaskComparison, ...]
    only_a: tuple[str, ...]
    """The tasks on which only the first row was run."""
    only_b: tuple[str, ...]

    def count(self, sign: int) -> int:
        """Return on how many tasks the first row is significantly better (1), significantly worse (-1) or neither (0)."""
        return sum(task.contrast.sign == sign for task in self.tasks if task.contrast is not None)


def compare(
    loaded: Loaded,
    results: Path,
    a: str,
    b: str,
    tasks: list[str],
    *,
    aso: bool = False,
    margin: float = MARGIN,
) -> Comparison:
    """Compare rows `a` and `b`, named by their labels, on each task that both have; predictions are in `results`.

    Args:
        tasks: names or globs of the tasks to compare on; if empty, all that both rows have.
        aso: whether to compute the almost stochastic order of the seeds' scores.
        margin: the difference, as a fraction, below which two scores count as equivalent.

    Raises:
        UsageError: a row or a task does not exist, both labels name the same row, or the rows share no task.
    """
    cells = _of_tasks(loaded.cells, tasks)
    existing = sorted(set(cells["strategy"]))
    for label in (a, b):
        if label not in existing:
            raise UsageError(f"no row {label!r} on this board{nearest(label, existing)}")
    if a == b:
        raise UsageError(f"both rows are {a!r}; name two different rows of the board")
    with_a, with_b = (set(cells["task"][cells["strategy"] == label]) for label in (a, b))
    shared = sorted(with_a & with_b)
    if not shared:
        raise UsageError(
            f"{a!r} was run on {', '.join(sorted(with_a))} and {b!r} on {', '.join(sorted(with_b))}: no task is"
            " shared; run one of them on the other's"
        )
    compared = [
        _on_task(cells[cells["task"] == task], loaded.metrics, results, a, b, aso, margin) for task in shared
    ]
    return Comparison(
        a, b, tuple(_adjusted(compared)), tuple(sorted(with_a - with_b)), tuple(sorted(with_b - with_a))
    )


def _of_tasks(cells: pd.DataFrame, tasks: list[str]) -> pd.DataFrame:
    """Return the cells of the tasks that match the names or globs in `tasks`; all cells if it is empty."""
    existing = sorted(set(cells["task"]))
    chosen = {name for name in existing for pattern in tasks if fnmatchcase(name, pattern)}
    for pattern in tasks:
        if not any(fnmatchcase(name, pattern) for name in existing):
            raise UsageError(f"--task {pattern!r} has no result here{nearest(pattern, existing)}")
    return cells[cells["task"].isin(chosen)] if tasks else cells


def _on_task(
    cells: pd.DataFrame,
    metrics: Mapping[str, Metric],
    results: Path,
    a: str,
    b: str,
    aso: bool,
    margin: float,
) -> TaskComparison:
    """Compare the two rows on the task of `cells`; p is not corrected yet."""
    rows = {row["strategy"]: row for row in rows_of(aggregate(cells))}
    empty = TaskComparison(
        str(cells["task"].iloc[0]), str(cells["metric"].iloc[0]), rows[a], rows[b], None, None, None, None
    )
    failed = [
        f"{label} {rows[label]['status']}: {rows[label]['reason']}"
        for label in (a, b)
        if not has_score(rows[label])
    ]
    if failed:
        return replace(empty, problem="; ".join(failed))
    answers = TaskAnswers(cells, results, metrics=metrics)
    try:
        contrast = _contrast(answers, a, b, str(cells["kind"].iloc[0]), aso, margin)
    except KdbenchError as error:
        return replace(empty, problem=str(error))
    return replace(empty, interval_a=answers.interval(a), interval_b=answers.interval(b), contrast=contrast)


def _contrast(answers: TaskAnswers, a: str, b: str, kind: str, aso: bool, margin: float) -> Contrast:
    first, second = answers.pair(a, b)
    difference = answers.difference(a, b)
    shared = [seed for seed in first.seeds if seed in second.seeds]
    return Contrast(
        difference=difference,
        adjusted_p=difference.p,
        margin=margin,
        smallest_detectable=smallest_difference(difference.standard_error, difference.df, alpha=ALPHA),
        seeds_are_known=answers.spreads[a] is not None and answers.spreads[b] is not None,
        randomization_p=_randomization(first, second, shared) if shared else None,
        mcnemar=_mcnemar(first, second, shared) if kind == TaskKind.SEQUENCE_CLASSIFICATION else {},
        almost_stochastic_order=_order(first, second) if aso else None,
        wins=count_wins(first, second, shared),
    )


def _order(a: Scored, b: Scored) -> tuple[float, float] | None:
    if min(len(a.seeds), len(b.seeds)) < 2:
        return None
    first, second = (row.metric.score(row.statistics.sum(axis=1)) for row in (a, b))
    return almost_stochastic_order(first, second), almost_stochastic_order(second, first)


def _randomization(a: Scored, b: Scored, seeds: list[int]) -> float:
    return approximate_randomization(a.of_seeds(seeds), b.of_seeds(seeds), a.metric.score)


def _mcnemar(a: Scored, b: Scored, seeds: list[int]) -> dict[int, McNemar]:
    if a.metric.name != "accuracy" or a.groups is not None:  # it takes examples for independent
        return {}
    # The first column of accuracy's statistics is 1 for a right answer.
    return {seed: mcnemar(a.of_seeds([seed])[0, :, 0] > 0, b.of_seeds([seed])[0, :, 0] > 0) for seed in seeds}


def _adjusted(compared: list[TaskComparison]) -> list[TaskComparison]:
    """Return the comparisons with p Holm-corrected over those that could be made."""
    p = holm([np.nan if task.contrast is None else task.contrast.difference.p for task in compared])
    return [
        task
        if task.contrast is None
        else replace(task, contrast=replace(task.contrast, adjusted_p=float(adjusted)))
        for task, adjusted in zip(compared, p, strict=True)
    ]
