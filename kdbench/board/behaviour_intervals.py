"""Bound what rows show beside their scores: Brier score, likelihood, fidelity to the teacher, loss to typing errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from kdbench.api.metric import Metric, quotient
from kdbench.api.predictions import Predictions
from kdbench.board.diagnostics import TaskBehaviour, noisy_predictions
from kdbench.board.frames import Row
from kdbench.board.predictions import MadeFrom, groups_in_order, made_from
from kdbench.errors import KdbenchError
from kdbench.evaluation.diagnostics import (
    brier_scores,
    calibration_statistics,
    label_agreements,
    negative_log_likelihoods,
    probability_agreements,
    select_examples,
    squared_calibration_error,
)
from kdbench.stats.bootstrap import Floats, Groups, Resampled, Score, resample, root_of
from kdbench.stats.intervals import resampled_interval
from kdbench.stats.seed_variance import seed_spreads

_RESAMPLES = 500
"""Fewer than for scores, since every row has six such figures in memory."""

KnownResampled = MutableMapping[MadeFrom, Mapping[str, Resampled]]
"""The resampled figures of a row by name, by its cells and the teacher's that it was compared with."""
Intervals = Mapping[str, Mapping[str, tuple[float, float]]]
"""By row and figure the ends of the 95% interval."""


class BehaviourIntervals:
    """Collects the figures of one task's rows, and bounds them over examples and seeds as scores are.

    Args:
        behaviour: the task's diagnostics, which know each cell's teacher.
        known: cached results, to which new ones are added.
    """

    def __init__(self, results: Path, behaviour: TaskBehaviour, known: KnownResampled) -> None:
        self._results = results
        self._behaviour = behaviour
        self._known = known

    def _key(self, cells: Sequence[Row]) -> MadeFrom:
        teachers = [self._behaviour.teacher_of(cell) for cell in cells]
        return made_from([*cells, *(teacher for teacher in teachers if teacher is not None)])

    def add(self, cells: Sequence[Row], stored: Sequence[Predictions], metric: Metric | None) -> None:
        """Resample the figures of one row from the `stored` predictions of its seeds."""
        key = self._key(cells)
        if key not in self._known:
            self._known[key] = {**self._means(cells, stored), **self._typos(cells, stored, metric)}

    def all(self, rows: Mapping[str, Sequence[Row]]) -> Intervals:
        """Return the intervals of `rows`, each given by its cells; variances over seeds are moderated by the others."""
        known = {row: self._known.get(self._key(cells), {}) for row, cells in rows.items()}
        found: dict[str, dict[str, tuple[float, float]]] = {row: {} for row in rows}
        for figure in sorted({name for figures in known.values() for name in figures}):
            models = {row: figures[figure] for row, figures in known.items() if figure in figures}
            spreads = seed_spreads([model.scores.tolist() for model in models.values()])
            for (row, model), spread in zip(models.items(), spreads, strict=True):
                found[row][figure] = resampled_interval(model, spread=spread)
        return found

    def _means(self, cells: Sequence[Row], stored: Sequence[Predictions]) -> dict[str, Resampled]:
        """Return the figures that are means over units: a unit is a text, a word or, of several per text, a label."""
        stored = [predictions.decisions for predictions in stored]
        if not all(predictions.is_classification for predictions in stored):
            return {}
        groups = groups_in_order(stored[0])
        by_unit = {"brier_score": brier_scores, "negative_log_likelihood": negative_log_likelihoods}
        figures = {
            name: _resampled([_by_example(p, of_units(p)) for p in stored], groups, _quotient, np.inf)
            for name, of_units in by_unit.items()
        }
        if len(stored[0].references) > 1:
            squares = [_sums_by_example(p, calibration_statistics(p)) for p in stored]
            figures["calibration_error"] = _resampled(
                squares, groups, squared_calibration_error, np.inf, -np.inf, change=root_of
            )
        pairs = [
            (p, self._behaviour.teacher_predictions(cell)) for cell, p in zip(cells, stored, strict=True)
        ]
        students = [(own, teacher.decisions) for own, teacher in pairs if teacher is not None]
        for name, agreements in (
            ("label_loyalty", label_agreements),
            ("probability_loyalty", probability_agreements),
        ):
            try:
                of_seeds = [_by_example(own, agreements(own, teacher)) for own, teacher in students]
            except KdbenchError:  # scored on other examples than the teacher: the row's warning says so
                continue
            if of_seeds:
                figures[name] = _resampled(of_seeds, groups, _quotient, 1.0)
        return figures

    def _typos(
        self, cells: Sequence[Row], stored: Sequence[Predictions], metric: Metric | None
    ) -> dict[str, Resampled]:
        noisy = [noisy_predictions(cell, self._results) for cell in cells]
        if metric is None or metric.own_rescore is not None or any(one is None for one in noisy):
            return {}
        ids = np.sort(noisy[0].ids) if noisy[0] is not None else np.zeros(0, dtype=np.int64)
        pairs, groups = [], None
        for cell, clean, mistyped in zip(cells, stored, noisy, strict=True):
            assert mistyped is not None
            if not np.array_equal(np.sort(mistyped.ids), ids):
                return {}
            clean = select_examples(clean, ids)
            groups = clean.group_places
            both = (clean, select_examples(mistyped, ids))
            pairs.append(np.hstack([metric.statistics(one, cell["labels"]) for one in both]))

        def drop(totals: Floats) -> Floats:
            clean, mistyped = np.split(totals, 2, axis=-1)
            return metric.score(clean) - metric.score(mistyped)

        def score(totals: Floats) -> Floats:
            return metric.score(np.split(totals, 2, axis=-1)[1])

        return {
            "noisy_drop": _resampled(pairs, groups, drop, np.inf, -np.inf),
            "noisy_score": _resampled(pairs, groups, score, metric.score_range[1], metric.score_range[0]),
        }


def _quotient(totals: Floats) -> Floats:
    return quotient(totals[..., 0], totals[..., 1])


def _by_example(predictions: Predictions, values: Floats) -> Floats:
    """Return (examples, 2), in the order of the ids: the sum of the units' `values`, and the number of units."""
    return _sums_by_example(predictions, np.column_stack([values, np.ones(len(values))]))


def _sums_by_example(predictions: Predictions, statistics: Floats) -> Floats:
    """Return (examples, k), in the order of the ids: the sums of the units' `statistics` (units, k)."""
    return predictions.sum_by_example(statistics)[np.argsort(predictions.ids, kind="stable")]


def _resampled(
    of_seeds: Sequence[Floats],
    groups: Groups | None,
    score: Score,
    largest: float,
    smallest: float = 0.0,
    change: Callable[[Resampled], Resampled] = lambda model: model,
) -> Resampled:
    (model,) = resample(
        [np.stack(of_seeds)],
        score,
        score_range=(smallest, largest),
        resamples=_RESAMPLES,
        groups=groups,
    )
    return replace(change(model), by_seed=np.zeros((0, 0), dtype=np.float32))
