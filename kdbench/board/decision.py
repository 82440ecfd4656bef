"""Decide a task while its rows get seeds: what each look shows, and which rows are worth another seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kdbench.api.metric import Metric
from kdbench.board.predictions import TaskAnswers
from kdbench.board.statistics import Known, task_statistics
from kdbench.evaluation.metrics import METRICS
from kdbench.stats.prospects import Prospect, prospects, worth_a_seed
from kdbench.stats.sequential import Design, SequentialClaims


class TaskDecision:
    """What is shown of the rows of one task so far; `kdbench.stats.sequential` says when it is decided.

    The rows, their differences and p-values are those of a board of the same cells. A row without a score takes no part.

    Args:
        task: its name.
        design: what is fixed before the first look.
    """

    def __init__(self, task: str, design: Design) -> None:
        self.task = task
        self.design = design
        self.claims: SequentialClaims | None = None
        """None before the first look, or where no row has a score."""
        self.prospects: dict[tuple[str, str], Prospect] = {}
        """Of each pair that is open after the last look."""
        self.seeds = 0
        """The seeds of the last look."""
        self.examples = 0
        """How many are scored."""

    @property
    def is_decided(self) -> bool:
        """Whether no row is open."""
        return self.claims is None or not self.claims.open

    def look(
        self,
        cells: pd.DataFrame,
        seeds: int,
        results: Path,
        known: Known,
        metrics: Mapping[str, Metric] = METRICS,
    ) -> set[str]:
        """Add what the look with `seeds` seeds shows, and return the rows that are worth another seed.

        Args:
            cells: the task's part of the table of cells; seeds from `seeds` on are ignored.
            seeds: how many seeds a row must have to be tested.
            results: the folder with the predictions.
            known: cached results, to which new ones are added.
            metrics: the registered metrics.
        """
        self.seeds = seeds
        cells = cells[cells["seed"] < seeds]
        if cells.empty:
            return set()
        self.examples = int(cells["scored_examples"].max())
        statistics = task_statistics(cells, results, known, metrics)
        if statistics.pairs is None:
            return set()
        if self.claims is None:
            self.claims = SequentialClaims(statistics.rows, self.design)
        self.claims.lose(set(self.claims.rows).difference(statistics.rows))
        has_all = cells.groupby("strategy")["seed"].nunique() == seeds
        tested = [row for row in statistics.rows if row in self.claims.rows and has_all[row]]
        self.claims.look(statistics.rows, statistics.pairs, tested)
        answers = TaskAnswers(cells, results, known.answers, metrics=metrics)
        rows = {row: answers.resampled(row) for row in statistics.rows}
        paired = answers.pairing.spreads(statistics.rows)
        self.prospects = prospects(self.claims, rows, statistics.pairs, paired)
        return (
            set() if seeds == self.design.max_seeds else worth_a_seed(self.prospects, self.design.max_seeds)
        )


@dataclass(frozen=True)
class Savings:
    """What a run did not run of the full grid."""

    cells: int
    of_cells: int
    """The cells of the full grid that are applicable."""
    train_s: float
    """The seconds of training that they would have taken, if each took as long as its row's other seeds."""
    max_seeds: int
    """The seeds of every row in the full grid."""
