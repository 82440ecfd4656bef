"""Register the built-in tasks, kinds of task and metrics, by the same hooks as any plugin."""

from __future__ import annotations

from collections.abc import Iterable

from kdbench_tasks.drug_reviews import DrugReviews
from kdbench_tasks.glue import GLUE
from kdbench_tasks.named_entities import ENTITIES
from kdbench_tasks.rotten_tomatoes import RottenTomatoes
from kdbench_tasks.twitter_ner import TwitterNer

from kdbench import METRICS, Metric, Task, TaskKind, hookimpl


@hookimpl
def kdbench_tasks() -> Iterable[Task]:
    """Return the built-in tasks, starting with those that need no files of the user."""
    return [RottenTomatoes(), TwitterNer(), DrugReviews(), *GLUE, *ENTITIES]


@hookimpl
def kdbench_kinds() -> Iterable[TaskKind]:
    """Return the built-in kinds of task."""
    return TaskKind


@hookimpl
def kdbench_metrics() -> Iterable[Metric]:
    """Return the built-in metrics."""
    return METRICS.values()
