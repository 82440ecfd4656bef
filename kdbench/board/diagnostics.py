"""What the predictions of a cell tell beside its score: how far it answers as the teacher, and knows what it knows."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from kdbench.api.task import TaskKind
from kdbench.board.frames import Row
from kdbench.board.predictions import MadeFrom, load_predictions, made_from
from kdbench.errors import KdbenchError
from kdbench.evaluation.diagnostics import (
    ClassScore,
    brier_score,
    class_scores,
    confusion_matrix,
    entity_scores,
    expected_calibration_error,
    label_loyalty,
    probability_loyalty,
)
from kdbench.evaluation.predictions import Predictions
from kdbench.results.records import Status


@dataclass(frozen=True)
class Behaviour:
    """What one cell's predictions tell beside its score; None where it is not defined or cannot be computed."""

    label_loyalty: float | None = None
    probability_loyalty: float | None = None
    """Both against the task's teacher; None of the teacher itself."""
    calibration_error: float | None = None
    brier_score: float | None = None


KnownBehaviour = MutableMapping[MadeFrom, Behaviour]
"""By a cell and the teacher that it was held against."""


class TaskBehaviour:
    """The behaviour of one task's cells.

    Args:
        cells: of one task.
        results: the folder with the predictions.
        known: what was computed before; gets what is computed now.
    """

    def __init__(self, cells: list[Row], results: Path, known: KnownBehaviour) -> None:
        self._cells = [cell for cell in cells if cell["status"] == Status.OK.value]
        self._results = results
        self._known = known
        self._teacher = next((cell for cell in self._cells if cell["is_teacher"]), None)

    def take(self, cell: Row, own: Predictions) -> None:
        """Compute what the predictions of `cell` tell, which somebody has read for reasons of his own."""
        source = self._source(cell)
        if source not in self._known:
            is_teacher = self._teacher is not None and cell["key"] == self._teacher["key"]
            self._known[source] = _behaviour(own, None if is_teacher else self._of_teacher)

    def all(self) -> Mapping[str, Behaviour]:
        """Return the behaviour of each cell whose predictions can be read, by its key; reads what was not taken."""
        for cell in self._cells:
            if self._source(cell) not in self._known:
                own = _predictions(cell, self._results)
                if own is not None:
                    self.take(cell, own)
        sources = {cell["key"]: self._source(cell) for cell in self._cells}
        return {key: self._known[source] for key, source in sources.items() if source in self._known}

    @cached_property
    def _of_teacher(self) -> Predictions | None:
        return None if self._teacher is None else _predictions(self._teacher, self._results)

    def _source(self, cell: Row) -> MadeFrom:
        return made_from([cell, *([] if self._teacher is None else [self._teacher])])


def _behaviour(own: Predictions, teacher: Predictions | None) -> Behaviour:
    labels = probabilities = None
    if teacher is not None:
        with suppress(
            KdbenchError
        ):  # scored on other examples than the teacher, which the row's warning tells
            labels, probabilities = label_loyalty(own, teacher), probability_loyalty(own, teacher)
    return Behaviour(labels, probabilities, expected_calibration_error(own), brier_score(own))


def _predictions(cell: Row, results: Path) -> Predictions | None:
    try:
        return load_predictions(cell, results)
    except KdbenchError:
        return None  # the row's warning tells


ByClass = dict[str, Any]
"""``classes`` (means over seeds) and ``confusion`` (sums over seeds), or nothing where there is none."""
KnownByClass = MutableMapping[MadeFrom, ByClass]
"""By a row's cells; what earlier drawings of a board have computed."""
MOST_CLASSES = 40
"""A matrix of more is no picture any more."""


def by_class(cells: list[Row], stored: Sequence[Predictions]) -> ByClass:
    """Return what `stored` shows.

    Args:
        cells: of one row, a seed each.
        stored: the predictions of those that ended well and can be read.
    """
    labels = tuple(cells[0]["labels"])
    if not stored or not labels or any(predictions.logits.shape[1] != len(labels) for predictions in stored):
        return {}
    by_seed = [scores for predictions in stored if (scores := _scores(predictions, labels, cells[0]["kind"]))]
    matrices = [
        matrix for predictions in stored if (matrix := confusion_matrix(predictions, labels)) is not None
    ]
    found: ByClass = {}
    if by_seed:
        found["classes"] = [_mean(scores) for scores in zip(*by_seed, strict=True)]
    if matrices and len(labels) <= MOST_CLASSES:
        found["confusion"] = sum(matrices[1:], matrices[0]).tolist()
    return found


def _scores(predictions: Predictions, labels: tuple[str, ...], kind: str) -> tuple[ClassScore, ...] | None:
    if kind == TaskKind.TOKEN_CLASSIFICATION:
        return entity_scores(predictions, labels)
    return class_scores(predictions, labels)


def _mean(scores: tuple[ClassScore, ...]) -> list[str | int]:
    return [
        scores[0].name,
        *(f"{100 * fmean(values):.1f}" for values in _ratios(scores)),
        scores[0].support,
    ]


def _ratios(scores: tuple[ClassScore, ...]) -> list[list[float]]:
    return [
        [score.precision for score in scores],
        [score.recall for score in scores],
        [score.f1 for score in scores],
    ]
