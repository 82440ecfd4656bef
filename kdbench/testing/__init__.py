"""Check plugins: what every strategy, task, metric and kind must do, on tiny data; for authors' tests.

    from kdbench.testing import parametrize_with_checks


    @parametrize_with_checks(MyStrategy)
    def test_my_strategy(check):
        check()

The functions `check_…` run all checks at once and return a `Report`.
"""

from __future__ import annotations

from pathlib import Path

from kdbench.api.metric import Metric
from kdbench.api.strategy import Strategy
from kdbench.api.task import Task, TaskKind
from kdbench.config import DataSettings
from kdbench.testing.parametrize import parametrize_with_checks
from kdbench.testing.report import Report, Result, Verdict
from kdbench.testing.subjects import of_kind, of_metric, of_strategy, of_task
from kdbench.testing.tiny_tasks import Labelling

__all__ = [
    "Labelling",
    "Report",
    "Result",
    "Verdict",
    "check_kind",
    "check_metric",
    "check_strategy",
    "check_task",
    "parametrize_with_checks",
]


def check_strategy(strategy: type[Strategy] | Strategy) -> Report:
    """Check `strategy` on tiny data of every kind that it supports, on three architectures.

    An instance is checked with its parameters, a class with the defaults.

    Raises:
        UsageError: an attribute of the class is missing or malformed.
    """
    return of_strategy(strategy).run()


def check_task(task: type[Task] | Task, data_dir: Path | None = None) -> Report:
    """Check `task` and, if they are in `data_dir` or the cache, its data; nothing is downloaded.

    Raises:
        UsageError: an attribute is missing or malformed.
    """
    return of_task(task, settings=DataSettings(data_dir=data_dir)).run()


def check_metric(metric: type[Metric] | Metric) -> Report:
    """Check `metric` on random answers to tasks of each kind that it suits.

    Raises:
        UsageError: an attribute is missing or malformed.
    """
    return of_metric(metric).run()


def check_kind(kind: type[TaskKind] | TaskKind, labelling: Labelling | None = None) -> Report:
    """Check `kind`, and fine-tune a tiny model on a task of it.

    Args:
        labelling: labels that it accepts; by default names, lists of names and numbers are tried.

    Raises:
        UsageError: an attribute is missing or malformed.
    """
    return of_kind(kind, labelling=labelling).run()
