"""Score a task by a metric of the library `evaluate`: balanced accuracy.

    kdbench run --plugin examples/evaluate_metric.py --task short-reviews --strategy finetune

`EvaluateMetric` takes any `evaluate.Metric`: a class as here, or ``lambda: evaluate.load("path/to/script")``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from kdbench import EvaluateMetric, LocalSource, Metric, Opened, Splits, Task, TaskKind, hookimpl


def balanced_accuracy() -> Any:
    """Return a metric: the mean over classes of the recall.

    The class is defined in a function, since `evaluate` takes seconds to import and is needed only for scoring.
    """
    import datasets
    import evaluate
    import numpy as np

    class BalancedAccuracy(evaluate.Metric):  # type: ignore[misc]  # evaluate publishes no types
        """Compute the mean recall over the classes that occur."""

        def _info(self) -> evaluate.MetricInfo:
            columns = {name: datasets.Value("int64") for name in ("predictions", "references")}
            return evaluate.MetricInfo(
                description="Balanced accuracy", citation="", features=datasets.Features(columns)
            )

        def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
            predicted, actual = np.asarray(predictions), np.asarray(references)
            recalls = [(predicted[actual == label] == label).mean() for label in np.unique(actual)]
            return {"balanced_accuracy": float(np.mean(recalls))}

    return BalancedAccuracy(keep_in_memory=True)


class ShortReviews(Task):
    """Classify synthetic reviews, three in four of them good."""

    name = "short-reviews"
    title = "Short reviews"
    kind = TaskKind.SEQUENCE_CLASSIFICATION
    labels = ("bad", "good")
    metric = "balanced-accuracy"
    metrics = ("accuracy",)
    licence = "none: made up"
    sources = {"local": LocalSource({"rows": __file__})}

    def load(self, opened: Opened) -> Splits:
        """Return texts sampled with a fixed seed."""
        return {"train": self._rows("train", 240), "test": self._rows("test", 80)}

    def _rows(self, split: str, count: int) -> Iterator[dict[str, Any]]:
        draw = random.Random(split)
        for _ in range(count):
            label = draw.choice(("bad", "good", "good", "good"))
            words = [label, *draw.choices(("the", "a", "very", "film", "story", "music", "was"), k=6)]
            yield {"text": " ".join(draw.sample(words, len(words))), "label": label}


@hookimpl
def kdbench_metrics() -> list[Metric]:
    """Return the metric under the name that tasks refer to."""
    return [
        EvaluateMetric(
            balanced_accuracy, "balanced-accuracy", key="balanced_accuracy", title="Balanced accuracy"
        )
    ]


@hookimpl
def kdbench_tasks() -> list[Task]:
    """Return the task that uses the metric."""
    return [ShortReviews()]
