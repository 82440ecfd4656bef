"""Compute what a cell's predictions show beside its score: fidelity to the teacher, calibration, scores by class."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from kdbench.api.predictions import Predictions
from kdbench.api.task import TaskKind
from kdbench.board.frames import Row
from kdbench.board.predictions import MadeFrom, load_predictions, made_from
from kdbench.errors import KdbenchError
from kdbench.evaluation.diagnostics import (
    ClassScore,
    area_under_risk_coverage,
    brier_score,
    class_scores,
    confusion_matrix,
    entity_scores,
    expected_calibration_error,
    label_loyalty,
    negative_log_likelihood,
    probability_loyalty,
    risk_at_coverage,
)
from kdbench.results.paths import CellFiles
from kdbench.results.records import Status


@dataclass(frozen=True)
class Behaviour:
    """The diagnostics of one cell's predictions; None where undefined or not computable."""

    label_loyalty: float | None = None
    probability_loyalty: float | None = None
    """Both compared with the task's teacher; None for the teacher itself."""
    calibration_error: float | None = None
    brier_score: float | None = None
    negative_log_likelihood: float | None = None
    aurc: float | None = None
    risk_at_coverage: float | None = None


KnownBehaviour = MutableMapping[MadeFrom, Behaviour]
"""Cached diagnostics, by the cell and the teacher that it was compared with."""


class TaskBehaviour:
    """Computes the behaviour of one task's cells from the predictions in `results`; adds it to the cache `known`."""

    def __init__(self, cells: list[Row], results: Path, known: KnownBehaviour) -> None:
        self._cells = [cell for cell in cells if cell["status"] == Status.OK.value]
        self._results = results
        self._known = known
        self._teachers = {cell["seed"]: cell for cell in self._cells if cell["is_teacher"]}
        self._loaded: dict[str, Predictions | None] = {}

    def add(self, cell: Row, predictions: Predictions) -> None:
        """Compute the behaviour of `cell` from its predictions, which the caller has loaded."""
        key = self._key(cell)
        if key not in self._known:
            self._known[key] = _behaviour(predictions, self.teacher_predictions(cell))

    def all(self) -> Mapping[str, Behaviour]:
        """Return the behaviour of each cell whose predictions can be read, by its key; loads those not added yet."""
        for cell in self._cells:
            if self._key(cell) not in self._known:
                predictions = _predictions(cell, self._results)
                if predictions is not None:
                    self.add(cell, predictions)
        keys = {cell["key"]: self._key(cell) for cell in self._cells}
        return {cell: self._known[key] for cell, key in keys.items() if key in self._known}

    def teacher_of(self, cell: Row) -> Row | None:
        """Return the cell of the teacher that taught `cell`: of its seed, or the only one there is."""
        only = next(iter(self._teachers.values())) if len(self._teachers) == 1 else None
        return self._teachers.get(cell["seed"], only)

    def teacher_predictions(self, cell: Row) -> Predictions | None:
        """Return the predictions of the teacher that taught `cell`; None for a teacher itself, and where there are none."""
        teacher = self.teacher_of(cell)
        if teacher is None or teacher["key"] == cell["key"]:
            return None
        if teacher["key"] not in self._loaded:
            self._loaded[teacher["key"]] = _predictions(teacher, self._results)
        return self._loaded[teacher["key"]]

    def _key(self, cell: Row) -> MadeFrom:
        teacher = self.teacher_of(cell)
        return made_from([cell, *([] if teacher is None else [teacher])])


def _behaviour(own: Predictions, teacher: Predictions | None) -> Behaviour:
    labels = probabilities = None
    if teacher is not None:
        with suppress(KdbenchError):  # scored on other examples than the teacher: the row's warning says so
            labels, probabilities = label_loyalty(own, teacher), probability_loyalty(own, teacher)
    return Behaviour(
        labels,
        probabilities,
        expected_calibration_error(own),
        brier_score(own),
        negative_log_likelihood(own),
        area_under_risk_coverage(own),
        risk_at_coverage(own),
    )


def _predictions(cell: Row, results: Path) -> Predictions | None:
    try:
        return load_predictions(cell, results)
    except KdbenchError:
        return None  # the row's warning says so


def noisy_predictions(cell: Row, results: Path) -> Predictions | None:
    """Return the predictions of one cell for texts with typing errors; None where there are none that can be read."""
    try:
        return Predictions.load(CellFiles(results, cell["key"]).noisy_predictions)
    except KdbenchError:
        return None


ByClass = dict[str, Any]
"""``classes`` (means over seeds) and ``confusion`` (sums over seeds); either is absent where it is not defined."""
KnownByClass = MutableMapping[MadeFrom, ByClass]
"""Results cached by earlier drawings of a board, by a row's cells."""
MAX_CLASSES = 40
"""A confusion matrix of more classes is too large to draw."""


def by_class(cells: list[Row], stored: Sequence[Predictions]) -> ByClass:
    """Return the scores by class and the confusion matrix of one row, from the `stored` predictions of its seeds."""
    labels = tuple(cells[0]["labels"])
    if not stored or not labels or any(predictions.logits.shape[1] != len(labels) for predictions in stored):
        return {}
    scores_of = entity_scores if cells[0]["kind"] == TaskKind.TOKEN_CLASSIFICATION else class_scores
    by_seed = [scores for predictions in stored if (scores := scores_of(predictions, labels))]
    matrices = [
        matrix for predictions in stored if (matrix := confusion_matrix(predictions, labels)) is not None
    ]
    result: ByClass = {}
    if by_seed:
        result["classes"] = [_mean(scores) for scores in zip(*by_seed, strict=True)]
    if matrices and len(labels) <= MAX_CLASSES:
        result["confusion"] = sum(matrices[1:], matrices[0]).tolist()
    return result


def _mean(scores: tuple[ClassScore, ...]) -> list[str | int]:
    means = (
        fmean(values) for values in zip(*((one.precision, one.recall, one.f1) for one in scores), strict=True)
    )
    return [scores[0].name, *(f"{100 * mean:.1f}" for mean in means), scores[0].support]
