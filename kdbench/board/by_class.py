"""What the stored answers of one row show: scores by class or entity type, and which classes are mistaken for which."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from statistics import fmean
from typing import Any

from kdbench.api.task import TaskKind
from kdbench.board.answers import MadeFrom
from kdbench.board.frames import Row
from kdbench.measure.breakdown import ClassScore, class_scores, confusion_matrix, entity_scores
from kdbench.predictions import Predictions

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
    if kind == TaskKind.TOKEN_CLASSIFICATION.value:
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
