"""Load the predictions of all rows on one task, and compute intervals of scores and differences between rows.

Boards, comparisons and recommendations all use this module, so that they agree about the same rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kdbench.api.metric import Metric
from kdbench.api.predictions import Predictions
from kdbench.board.frames import Row, rows_of
from kdbench.board.pairing import Pairing
from kdbench.errors import KdbenchError
from kdbench.evaluation.metrics import METRICS
from kdbench.results.records import Status
from kdbench.stats.bootstrap import Floats, Groups, Resampled, difference_by_seed, resample, sum_by_group
from kdbench.stats.comparisons import (
    Difference,
    Pair,
    PairedSeeds,
    PairwiseDifferences,
    pairwise_differences,
)
from kdbench.stats.intervals import Gap, drawn_means, gap_recovered, resampled_interval, share_kept
from kdbench.stats.seed_variance import SeedSpread, seed_spreads


@dataclass(frozen=True, eq=False)
class Scored:
    """The answers of one row on one task; every array orders the examples by their ids."""

    metric: Metric
    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    ids: npt.NDArray[np.int64]
    """(examples,): which examples of the evaluation split."""
    statistics: npt.NDArray[np.float64]
    """(seeds, examples, k): what each example adds to the sums that the metric's `score` reads."""
    predictions: tuple[Predictions, ...]
    """One per seed, in the stored order of examples."""
    groups: Groups | None = None
    """(examples,): the group of each example, whose answers are not independent; None where every one stands alone."""

    def of_seeds(self, seeds: Sequence[int]) -> npt.NDArray[np.float64]:
        """Return the statistics of these `seeds`, in their order, summed over each group where there are groups."""
        statistics = self.statistics[[self.seeds.index(seed) for seed in seeds]]
        return statistics if self.groups is None else sum_by_group(statistics, self.groups)

    def answers(self, seed: int) -> list[npt.NDArray[Any]]:
        """Return for each example the answers of the model of `seed`, unit by unit."""
        predictions = self.predictions[self.seeds.index(seed)]
        return _by_example(predictions, predictions.predicted)

    def references(self) -> list[npt.NDArray[Any]]:
        """Return for each example the labels, unit by unit."""
        return _by_example(self.predictions[0], self.predictions[0].references)


def load_scored(cells: list[Row], results: Path, metrics: Mapping[str, Metric] = METRICS) -> Scored:
    """Load the answers of one row on one task, whose `cells` are one per seed, from the predictions in `results`.

    Raises:
        KdbenchError: a file is missing or damaged, the seeds were scored on different examples, or no installed plugin
            provides the task's metric.
    """
    name = cells[0]["metric"]
    if name not in metrics:
        raise KdbenchError(
            f"no installed plugin provides the metric {name!r}, so that nothing can be computed from answers"
        )
    metric = metrics[name]
    loaded = [load_predictions(cell, results) for cell in cells]
    orders = [_order(predictions) for predictions in loaded]
    ids = [predictions.ids[order] for predictions, order in zip(loaded, orders, strict=True)]
    if any(not np.array_equal(ids[0], others) for others in ids[1:]):
        raise KdbenchError("the seeds were scored on different examples")
    groups = groups_in_order(loaded[0])
    if any(not _are_same(groups, groups_in_order(others)) for others in loaded[1:]):
        raise KdbenchError("only some seeds have the groups of their examples; run the others again")
    statistics = [
        metric.statistics(predictions, cell["labels"])[order]
        for predictions, cell, order in zip(loaded, cells, orders, strict=True)
    ]
    return Scored(
        metric=metric,
        labels=tuple(cells[0]["labels"]),
        seeds=tuple(cell["seed"] for cell in cells),
        ids=ids[0],
        statistics=np.stack(statistics),
        predictions=tuple(loaded),
        groups=groups,
    )


def groups_in_order(predictions: Predictions) -> Groups | None:
    """Return (examples,), in the order of the ids, the group of each example; None where every one stands alone."""
    places = predictions.group_places
    return None if places is None else places[_order(predictions)]


def _are_same(a: Groups | None, b: Groups | None) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b))


def load_predictions(cell: Row, results: Path) -> Predictions:
    """Load the predictions of one cell.

    Raises:
        KdbenchError: they are missing or damaged; names the seed.
    """
    try:
        return Predictions.load(results / "predictions" / f"{cell['key']}.safetensors")
    except KdbenchError as error:
        # The error names the file's folder, which must not appear on a published board.
        raise KdbenchError(f"the predictions of seed {cell['seed']} are missing or damaged") from error


def _order(predictions: Predictions) -> npt.NDArray[np.int64]:
    return np.argsort(predictions.ids, kind="stable")


def _by_example(predictions: Predictions, units: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Return the part of `units` that belongs to each example, in the order of the ids."""
    if predictions.offsets is None:
        parts = list(units[:, None])
    else:
        parts = np.split(units, predictions.offsets[1:-1])
    return [parts[place] for place in _order(predictions)]


MadeFrom = tuple[tuple[str, datetime], ...]
"""The key and finishing time of each cell that a result was computed from."""


@dataclass(frozen=True, eq=False)
class RowAnswers:
    """What is cached of a row's answers: small, but enough for every statistic."""

    examples: str
    """A hash of which examples were scored."""
    statistics: str
    """A hash of what each example adds to each seed's score."""
    resampled: Resampled


KnownAnswers = MutableMapping[MadeFrom, RowAnswers]
"""Results cached by earlier drawings of a board."""


def made_from(cells: Iterable[Row]) -> MadeFrom:
    """Return a key under which results computed from `cells` can be cached; it changes when a cell runs again."""
    return tuple((cell["key"], cell["finished_at"]) for cell in cells)


class TaskAnswers:
    """The rows of one task that succeeded on every seed; their predictions are loaded on first use.

    Whatever reads answers raises a KdbenchError, with the row and the seed, where they cannot be read; what compares
    rows raises one where they were scored on different examples.

    Args:
        cells: the task's part of the table of cells.
        results: the folder with the predictions.
        known: cached results, to which new ones are added.
        watch: called with the cells and predictions of each row that is loaded, so that they need not be loaded again.
        metrics: the registered metrics.
    """

    def __init__(
        self,
        cells: pd.DataFrame,
        results: Path,
        known: KnownAnswers | None = None,
        watch: Callable[[list[Row], Sequence[Predictions]], None] | None = None,
        metrics: Mapping[str, Metric] = METRICS,
    ) -> None:
        self._results = results
        self._metrics = metrics
        self._watch = watch
        self._known: KnownAnswers = {} if known is None else known
        self._scored: dict[str, Scored] = {}
        ordered = sorted(rows_of(cells), key=lambda cell: (cell["strategy"], cell["seed"]))
        groups = {label: list(group) for label, group in groupby(ordered, key=lambda cell: cell["strategy"])}
        self._cells: dict[str, list[Row]] = {
            label: group
            for label, group in groups.items()
            if all(cell["status"] == Status.OK.value and cell["score"] is not None for cell in group)
        }
        self.rows = tuple(self._cells)
        """The rows that succeeded on every seed."""

    def cells(self, row: str) -> list[Row]:
        """Return the cells of `row`, one per seed."""
        return self._cells[row]

    @cached_property
    def spreads(self) -> dict[str, SeedSpread | None]:
        """Each row's estimated variance over seeds, moderated by the task's other rows."""
        scores = [[cell["score"] for cell in group] for group in self._cells.values()]
        return dict(zip(self._cells, seed_spreads(scores), strict=True))

    @cached_property
    def pairing(self) -> Pairing:
        """Which rows are paired seed by seed."""
        return Pairing(self._cells)

    def scored(self, row: str) -> Scored:
        """Return the answers of `row`."""
        if row not in self._scored:
            try:
                self._scored[row] = self._load(row)
            except KdbenchError as error:
                raise KdbenchError(f"{row}: {error}") from error
        return self._scored[row]

    def _load(self, row: str) -> Scored:
        scored = load_scored(self._cells[row], self._results, self._metrics)
        if self._watch is not None:
            self._watch(self._cells[row], scored.predictions)
        return scored

    def pair(self, a: str, b: str) -> tuple[Scored, Scored]:
        """Return the answers of both rows to the same examples in the same order."""
        first, second = self.scored(a), self.scored(b)
        if not np.array_equal(first.ids, second.ids):
            raise KdbenchError(f"{a} and {b} were scored on different examples")
        return first, second

    def read(self, rows: Iterable[str]) -> dict[str, str]:
        """Load the answers of `rows` and resample them together, which is faster than one by one.

        Returns:
            For each row whose answers cannot be read, the reason.
        """
        problems = {}
        together: dict[str, list[tuple[str, Metric, Floats, Groups | None]]] = {}
        for row in rows:
            if made_from(self._cells[row]) in self._known:
                continue
            try:
                scored = self._scored.get(row) or self._load(row)
            except KdbenchError as error:
                problems[row] = str(error)
                continue
            examples = f"{_digest(scored.ids)}/{scored.statistics.shape[2]}"
            if scored.groups is not None:
                examples += f"/{_digest(scored.groups)}"
            # The predictions themselves are dropped: those of all rows may exceed the memory.
            together.setdefault(examples, []).append((row, scored.metric, scored.statistics, scored.groups))
        for examples, group in together.items():
            _, metric, _, groups = group[0]
            resampled = resample(
                [statistics for _, _, statistics, _ in group],
                metric.score,
                score_range=metric.score_range,
                rescore=metric.own_rescore,
                groups=groups,
            )
            for (row, _, statistics, _), drawn in zip(group, resampled, strict=True):
                self._known[made_from(self._cells[row])] = RowAnswers(examples, _digest(statistics), drawn)
        return problems

    def interval(self, row: str) -> tuple[float, float] | None:
        """Return the 95% interval of the mean score of `row`, over examples and seeds.

        A single seed without an estimate of the variance over seeds has its record's interval, over examples alone.
        None where the row's answers cannot be read, which `read` and the comparisons report.
        """
        (first, *others), spread = self._cells[row], self.spreads[row]
        if not others and spread is None:
            return first["score_low"], first["score_high"]
        try:
            return resampled_interval(self._answers(row).resampled, spread=spread)
        except KdbenchError:
            return None

    def differences(self, rows: Sequence[str]) -> PairwiseDifferences:
        """Return how much better each of `rows` scored than each other; all must be scored on the same examples."""
        return _differences(
            [(self._answers(row), self.spreads[row]) for row in rows], self.pairing.spreads(rows)
        )

    def difference(self, a: str, b: str) -> Difference:
        """Return how much better row `a` scored than row `b`."""
        self._check_same_examples([a, b])
        return self.differences([a, b]).of(0, 1)

    def change(self, row: str, before: TaskAnswers) -> Difference:
        """Return how much better `row` scores here than the row of the same name in `before`."""
        sides = (("newer", self), ("older", before))
        problems = [
            f"{side} row: {problem}" for side, answers in sides if (problem := answers.read([row]).get(row))
        ]
        if problems:
            raise KdbenchError("; ".join(problems))
        now, then = (answers._answers(row) for _, answers in sides)
        if now.examples != then.examples:
            raise KdbenchError("they were scored on different examples")
        rows = [(now, self.spreads[row]), (then, before.spreads[row])]
        return _differences(rows, self.pairing.change(row, before.pairing)).of(0, 1)

    def drawn(self, rows: Sequence[str]) -> Floats:
        """Return (resamples, rows): the scores of `rows` on drawn test sets, the same for all, and for drawn seeds.

        A row made from a trained one shares its source's draws of seeds: only their differences are drawn anew.
        """
        found: dict[str, Floats] = {}
        for row, rng in zip(rows, np.random.default_rng(0).spawn(len(rows)), strict=True):
            found[row] = drawn_means(self._answers(row).resampled, self.spreads[row], rng)
        for row, rng in zip(rows, np.random.default_rng(1).spawn(len(rows)), strict=True):
            root = self.pairing.root(row)
            if row != root and root in found and self.pairing.are_paired(row, root):
                seeds = self.pairing.spreads([root, row])[0, 1]
                source, derived = (self._answers(name).resampled for name in (root, row))
                loss = difference_by_seed(source, derived, seeds.places)
                found[row] = found[root] - drawn_means(loss, seeds.spread, rng)
        return np.stack([found[row] for row in rows], axis=1) if rows else np.zeros((0, 0))

    def gap(self, student: str, control: str, teacher: str) -> Gap:
        """Return the share of the lead of `teacher` over `control` that `student` recovers."""
        rows = [student, control, teacher]
        self._check_same_examples(rows)
        return gap_recovered(
            [self._answers(row).resampled for row in rows], [self.spreads[row] for row in rows]
        )

    def resampled(self, row: str) -> tuple[Resampled, SeedSpread | None]:
        """Return the scores of `row` on resampled test sets, the same for all rows, and the spread of its seeds."""
        return self._answers(row).resampled, self.spreads[row]

    def kept(self, row: str, teacher: str) -> tuple[float, float] | None:
        """Return the 95% interval of the score of `row` as a share of that of `teacher`; None where there is none.

        Where both are paired seed by seed, that of their difference, as a share of the teacher's score: the seeds of
        the two are then not independent, and the share is near 1.
        """
        self._check_same_examples([row, teacher])
        models = [self._answers(name).resampled for name in (row, teacher)]
        if self.pairing.are_paired(row, teacher):
            _, of_teacher = self.pairing.means(row, teacher)
            if of_teacher <= 0:
                return None
            difference = self.difference(row, teacher)
            return 1 + difference.low / of_teacher, 1 + difference.high / of_teacher
        share = share_kept(models, [self.spreads[row], self.spreads[teacher]])
        return None if share is None or share.low is None or share.high is None else (share.low, share.high)

    def examples(self, row: str) -> str:
        """Return a hash of the examples that `row` was scored on."""
        return self._answers(row).examples

    def _check_same_examples(self, rows: list[str]) -> None:
        for row in rows[1:]:
            if self.examples(row) != self.examples(rows[0]):
                raise KdbenchError(f"{rows[0]} and {row} were scored on different examples")

    def _answers(self, row: str) -> RowAnswers:
        problem = self.read([row]).get(row)
        if problem is not None:
            raise KdbenchError(f"{row}: {problem}")
        return self._known[made_from(self._cells[row])]


def _differences(
    rows: Sequence[tuple[RowAnswers, SeedSpread | None]],
    paired: Mapping[Pair, PairedSeeds],
) -> PairwiseDifferences:
    answers, spreads = zip(*rows, strict=True)
    statistics = np.array([row.statistics for row in answers])
    return pairwise_differences(
        [row.resampled for row in answers], spreads, statistics[:, None] == statistics, paired
    )


def _digest(array: npt.NDArray[np.generic]) -> str:
    # With the shape: two seeds of one example are not one seed of two.
    return f"{array.shape} {hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}"
