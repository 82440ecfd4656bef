"""The metrics as `evaluate` knows them, for who calls `compute` and `add_batch`.

Apart from the formulas, since `evaluate` loads torch and transformers, which a board does without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from kdbench.api.task import TaskKind
from kdbench.evaluation.metrics import Answers, EntityF1, Metric


# evaluate publishes no types, so that its class is Any to mypy.
class EvaluateMetric(evaluate.Metric):  # type: ignore[misc]
    """A metric of classes (int), of values (float) or, for entities, of sentences of tags (str)."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._is_of_values = metric.kinds == {TaskKind.SEQUENCE_REGRESSION}
        super().__init__(keep_in_memory=True)

    def _info(self) -> evaluate.MetricInfo:
        unit = datasets.Value("float64" if self._is_of_values else "int64")
        column = datasets.List(datasets.Value("string")) if isinstance(self._metric, EntityF1) else unit
        features = datasets.Features({"predictions": column, "references": column})
        return evaluate.MetricInfo(
            description=str(type(self._metric).__doc__), citation="", features=features
        )

    def _build_data_dir(self) -> str:
        """Name no folder: evaluate would make one below the user's home even though batches stay in memory."""
        return ""

    def _compute(self, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
        units = self._metric.checked_statistics(self._answers(predictions, references))
        return {self._metric.name: float(self._metric.score(units.sum(axis=0)))}

    def _answers(self, predictions: Sequence[Any], references: Sequence[Any]) -> Answers:
        if isinstance(self._metric, EntityF1):
            return _tags(predictions, references)
        predicted, actual = np.asarray(predictions), np.asarray(references)
        if self._is_of_values:
            return Answers(predicted, actual, labels=())
        classes = max(2, 1 + int(max(predicted.max(), actual.max())))
        return Answers(predicted, actual, tuple(str(index) for index in range(classes)))


def _tags(predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> Answers:
    lengths = [len(tags) for tags in references]
    if lengths != [len(tags) for tags in predictions]:
        raise ValueError("a sentence has another number of predicted tags than of reference tags")
    words = [tag for tags in (*predictions, *references) for tag in tags]
    labels, indices = np.unique(words, return_inverse=True)
    predicted, actual = np.split(indices, 2)
    return Answers(predicted, actual, tuple(labels.tolist()), np.cumsum([0, *lengths]))
