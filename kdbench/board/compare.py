"""Two rows of a board side by side, task by task, and which of their differences are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kdbench.api.metric import Metric
from kdbench.api.task import TaskKind
from kdbench.board.frames import Row, rows_of
from kdbench.board.load import Loaded
from kdbench.board.predictions import Scored, TaskAnswers
from kdbench.board.rows import aggregate, has_score
from kdbench.errors import KdbenchError, UsageError, nearest
from kdbench.stats import (
    Difference,
    McNemar,
    almost_stochastic_order,
    approximate_randomization,
    holm,
    mcnemar,
    smallest_difference,
)

if TYPE_CHECKING:
    from datasets import Dataset


Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Wins:
    """Scored examples, those of each seed counted by themselves."""

    wins: int
    """On which the first row is right and the second is not; in regression, nearer to the right value."""
    ties: int
    losses: int


def count_wins(a: Scored, b: Scored, seeds: Sequence[int]) -> Wins | None:
    """Return on how many examples `a` is better than `b`, alike and worse; None where there are no `seeds`.

    An example of several words is right where all of its words are.

    Args:
        a: one row's answers.
        b: another's, to the same examples.
        seeds: those that both rows have.
    """
    if not seeds:
        return None
    ahead = np.concatenate([_errors(b, seed) - _errors(a, seed) for seed in seeds])
    return Wins(int((ahead > 0).sum()), int((ahead == 0).sum()), int((ahead < 0).sum()))


def _errors(scored: Scored, seed: int) -> Floats:
    """Return (examples,): 0 of a right answer and 1 of a wrong one; in regression how far off it is."""
    pairs = zip(scored.answers(seed), scored.references(), strict=True)
    if scored.labels:
        return np.array([not np.array_equal(answer, right) for answer, right in pairs], dtype=np.float64)
    return np.array([abs(float(answer[0]) - float(right[0])) for answer, right in pairs])


ALPHA = 0.05
"""The level at which a difference counts as shown, over all tasks compared."""


@dataclass(frozen=True)
class Contrast:
    """What one task shows of two rows."""

    difference: Difference
    """The first row's score less the second's, with what seeds and examples may add to it."""
    adjusted_p: float
    """The p of `difference` by Holm over the tasks compared."""
    smallest_shown: float
    """The true difference that one comparison of this precision shows four times in five."""
    seeds_are_known: bool
    """Whether the luck of seeds is in the interval; otherwise it speaks of these trained models alone."""
    randomization_p: float | None
    """By approximate randomization over the seeds that both rows have; for these trained models alone."""
    mcnemar: dict[int, McNemar]
    """By each seed that both rows have; only where the score is the accuracy over texts."""
    almost_stochastic_order: tuple[float, float] | None = None
    """The epsilon of the first row over the second, and of the second over the first: see the function of this name.
    None where it was not asked for, or a row has one seed."""
    wins: Wins | None = None
    """On how many examples either row is better, of the seeds that both have; None where they share none."""

    @property
    def is_shown(self) -> bool:
        """Whether the difference is shown at the level `ALPHA`."""
        return self.adjusted_p < ALPHA

    @property
    def sign(self) -> int:
        """1 where the first row is shown better, -1 where it is shown worse, 0 where neither is shown."""
        if not self.is_shown:
            return 0
        return 1 if self.difference.difference > 0 else -1


@dataclass(frozen=True)
class TaskComparison:
    """Two rows on one task."""

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
    """Two rows on every task on which both were run."""

    a: str
    b: str
    tasks: tuple[TaskComparison, ...]
    only_a: tuple[str, ...]
    """The tasks on which only the first row was run."""
    only_b: tuple[str, ...]

    def count(self, sign: int) -> int:
        """Return on how many tasks the first row is shown better (1), worse (-1), or neither is shown (0)."""
        return sum(task.contrast.sign == sign for task in self.tasks if task.contrast is not None)


def compare(
    loaded: Loaded, results: Path, a: str, b: str, tasks: list[str], *, aso: bool = False
) -> Comparison:
    """Return rows `a` and `b` side by side.

    Args:
        loaded: the cells of a board.
        results: the folder with the predictions.
        a: a row's label as boards have it.
        b: another row's.
        tasks: names or globs of the tasks to compare on; without any, all that both rows have.
        aso: whether the almost stochastic order of the seeds' scores is asked for.

    Raises:
        UsageError: a row or a task is not there, the rows are one, or they share no task.
    """
    cells = of_tasks(loaded.cells, tasks)
    for label in (a, b):
        find_row(cells, label)
    if a == b:
        raise UsageError(f"both rows are {a!r}; name two different rows of the board")
    with_a, with_b = (set(cells["task"][cells["strategy"] == label]) for label in (a, b))
    shared = sorted(with_a & with_b)
    if not shared:
        raise UsageError(
            f"{a!r} was run on {', '.join(sorted(with_a))} and {b!r} on {', '.join(sorted(with_b))}: no task is"
            " shared; run one of them on the other's"
        )
    compared = [_on_task(cells[cells["task"] == task], loaded.metrics, results, a, b, aso) for task in shared]
    return Comparison(
        a, b, tuple(_adjusted(compared)), tuple(sorted(with_a - with_b)), tuple(sorted(with_b - with_a))
    )


def of_tasks(cells: pd.DataFrame, tasks: list[str]) -> pd.DataFrame:
    """Return the cells of the tasks that names or globs in `tasks` match; without any, all.

    Raises:
        UsageError: a name matches no task of the cells.
    """
    there = sorted(set(cells["task"]))
    chosen = {name for name in there for pattern in tasks if fnmatchcase(name, pattern)}
    for pattern in tasks:
        if not any(fnmatchcase(name, pattern) for name in there):
            raise UsageError(f"--task {pattern!r} has no result here{nearest(pattern, there)}")
    return cells[cells["task"].isin(chosen)] if tasks else cells


def find_row(cells: pd.DataFrame, label: str) -> None:
    """Make sure that `label` is a row of the board of `cells`.

    Raises:
        UsageError: it is not; hints at the nearest.
    """
    there = sorted(set(cells["strategy"]))
    if label not in there:
        raise UsageError(f"no row {label!r} on this board{nearest(label, there)}")


def _on_task(
    cells: pd.DataFrame, metrics: Mapping[str, Metric], results: Path, a: str, b: str, aso: bool
) -> TaskComparison:
    """Compare on the task of `cells`; its p is not yet adjusted."""
    rows = {row["strategy"]: row for row in rows_of(aggregate(cells))}
    without = TaskComparison(
        str(cells["task"].iloc[0]), str(cells["metric"].iloc[0]), rows[a], rows[b], None, None, None, None
    )
    failed = [
        f"{label} {rows[label]['status']}: {rows[label]['reason']}"
        for label in (a, b)
        if not has_score(rows[label])
    ]
    if failed:
        return replace(without, problem="; ".join(failed))
    answers = TaskAnswers(cells, results, metrics=metrics)
    try:
        contrast = _contrast(answers, a, b, str(cells["kind"].iloc[0]), aso)
    except KdbenchError as error:
        return replace(without, problem=str(error))
    return replace(without, interval_a=answers.interval(a), interval_b=answers.interval(b), contrast=contrast)


def _contrast(answers: TaskAnswers, a: str, b: str, kind: str, aso: bool) -> Contrast:
    first, second = answers.pair(a, b)
    difference = answers.difference(a, b)
    shared = [seed for seed in first.seeds if seed in second.seeds]
    return Contrast(
        difference=difference,
        adjusted_p=difference.p,
        smallest_shown=smallest_difference(difference.standard_error, difference.df, alpha=ALPHA),
        seeds_are_known=answers.spreads[a] is not None and answers.spreads[b] is not None,
        randomization_p=_randomization(first, second, shared),
        mcnemar=_mcnemar(first, second, shared) if kind == TaskKind.SEQUENCE_CLASSIFICATION else {},
        almost_stochastic_order=_order(first, second) if aso else None,
        wins=count_wins(first, second, shared),
    )


def _order(a: Scored, b: Scored) -> tuple[float, float] | None:
    if min(len(a.seeds), len(b.seeds)) < 2:
        return None
    first, second = (row.metric.score(row.statistics.sum(axis=1)) for row in (a, b))
    return almost_stochastic_order(first, second), almost_stochastic_order(second, first)


def _randomization(a: Scored, b: Scored, seeds: list[int]) -> float | None:
    if not seeds:
        return None
    return approximate_randomization(a.of_seeds(seeds), b.of_seeds(seeds), a.metric.score)


def _mcnemar(a: Scored, b: Scored, seeds: list[int]) -> dict[int, McNemar]:
    if a.metric.name != "accuracy":
        return {}
    # The first column of accuracy's statistics is 1 for a right answer.
    return {seed: mcnemar(a.of_seeds([seed])[0, :, 0] > 0, b.of_seeds([seed])[0, :, 0] > 0) for seed in seeds}


def _adjusted(compared: list[TaskComparison]) -> list[TaskComparison]:
    """Return the comparisons with Holm's p over those that could be made."""
    p = holm([np.nan if task.contrast is None else task.contrast.difference.p for task in compared])
    return [
        task
        if task.contrast is None
        else replace(task, contrast=replace(task.contrast, adjusted_p=float(adjusted)))
        for task, adjusted in zip(compared, p, strict=True)
    ]


@dataclass(frozen=True)
class Disagreement:
    """One scored example and the answers of two models to it."""

    example: int
    """Its index in the scored split."""
    text: str
    right: str
    answer_a: str
    answer_b: str


@dataclass(frozen=True)
class Disagreements:
    """The first examples, in the order of the split, that two models of one seed answer differently."""

    seed: int
    number: int
    """Of all scored examples that are answered differently."""
    scored: int
    shown: tuple[Disagreement, ...]


def disagreements(a: Scored, b: Scored, texts: Dataset, limit: int) -> Disagreements | None:
    """Return where the models of the first seed that both rows have part ways; None where they share no seed.

    Numbers always differ a little: in regression, examples stand in the order of how far the answers lie apart.

    Args:
        a: one row's answers.
        b: another's, to the same examples.
        texts: the scored split.
        limit: how many examples are shown.
    """
    seed = next((seed for seed in a.seeds if seed in b.seeds), None)
    if seed is None:
        return None
    answers_a, answers_b, right = a.answers(seed), b.answers(seed), a.references()
    apart = [i for i in range(len(right)) if not np.array_equal(answers_a[i], answers_b[i])]
    if not a.labels and right[0].ndim == 1:
        apart.sort(key=lambda i: -abs(float(answers_a[i][0]) - float(answers_b[i][0])))
    return Disagreements(
        seed,
        len(apart),
        len(right),
        tuple(
            _disagreement(int(a.ids[i]), texts, right[i], answers_a[i], answers_b[i], a.labels)
            for i in apart[:limit]
        ),
    )


def _disagreement(
    example: int,
    texts: Dataset,
    right: npt.NDArray[Any],
    answer_a: npt.NDArray[Any],
    answer_b: npt.NDArray[Any],
    labels: tuple[str, ...],
) -> Disagreement:
    row = texts[example]
    if "words" in row:
        words = row["words"]
        part = [i for i in range(len(right)) if answer_a[i] != answer_b[i]]

        def told(answers: npt.NDArray[Any]) -> str:
            return ", ".join(f"{words[i]} {labels[int(answers[i])]}" for i in part)

        return Disagreement(example, " ".join(words), told(right), told(answer_a), told(answer_b))

    def name(answers: npt.NDArray[Any]) -> str:
        if answers.ndim > 1:  # a plugin's kind, of several numbers a text
            return str(answers[0].tolist())
        return labels[int(answers[0])] if labels else f"{float(answers[0]):.3f}"

    text = " / ".join(row[column] for column in ("text", "text_pair") if column in row)
    return Disagreement(example, text, name(right), name(answer_a), name(answer_b))
