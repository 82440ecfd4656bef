"""What the predictions of a cell tell beside its score: how far it answers as the teacher, and knows what it knows."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kdbench.board.answers import MadeFrom, made_from
from kdbench.board.frames import Row
from kdbench.board.scored import load_predictions
from kdbench.errors import KdbenchError
from kdbench.measure.calibration import brier_score, expected_calibration_error
from kdbench.measure.fidelity import label_loyalty, probability_loyalty
from kdbench.predictions import Predictions
from kdbench.records import Status


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
