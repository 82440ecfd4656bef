"""Check strategies, tasks, metrics and kinds: choose the checks by type, and run them one by one or all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kdbench.api.metric import Metric
from kdbench.api.strategy import Strategy
from kdbench.api.task import Task, TaskKind
from kdbench.config import DataSettings
from kdbench.errors import UsageError, shown
from kdbench.testing.kind_checks import KIND_CHECKS, KindSubject
from kdbench.testing.laboratory import Laboratory, shared_laboratory
from kdbench.testing.metric_checks import METRIC_CHECKS, MetricSubject
from kdbench.testing.report import Check, Report, Result
from kdbench.testing.strategy_checks import STRATEGY_CHECKS, StrategySubject
from kdbench.testing.task_checks import TASK_CHECKS, TaskSubject
from kdbench.testing.tiny_tasks import Labelling
from kdbench.testing.trial import Case


@dataclass
class Checked:
    """A part of a plugin and the checks on it; their subject is made when the first of them runs."""

    name: str
    """Its type and name, such as ``strategy lora``."""
    checks: Sequence[Check[Any]]
    make_subject: Callable[[], Any]

    @cached_property
    def subject(self) -> Any:
        """What the checks are called with."""
        return self.make_subject()

    def run(self, done: Callable[[Result], object] = lambda result: None) -> Report:
        """Run all checks and return their verdicts; `done` is called with each as it comes."""
        results = []
        for check in self.checks:
            results.append(check(self.subject))
            done(results[-1])
        return Report(self.name, tuple(results))


def of_strategy(
    strategy: type[Strategy] | Strategy,
    laboratory: Laboratory | None = None,
    cases: Sequence[Case] | None = None,
) -> Checked:
    """Return `strategy` with its checks; an instance is checked with its parameters, a class with the defaults.

    Args:
        laboratory: by default the process's own, which knows the installed plugins.
        cases: the architectures and kinds to try it on; by default three architectures, and every kind it supports.
    """
    return Checked(
        f"strategy {strategy.name}",
        STRATEGY_CHECKS,
        lambda: StrategySubject(strategy, laboratory or shared_laboratory(), cases),
    )


def of_task(
    task: type[Task] | Task, laboratory: Laboratory | None = None, settings: DataSettings | None = None
) -> Checked:
    """Return `task` with its checks; `settings` say where its data are."""
    return Checked(
        f"task {task.name}",
        TASK_CHECKS,
        lambda: TaskSubject(task, laboratory or shared_laboratory(), settings or DataSettings()),
    )


def of_metric(metric: type[Metric] | Metric) -> Checked:
    """Return `metric` with its checks."""
    return Checked(f"metric {metric.name}", METRIC_CHECKS, lambda: MetricSubject(metric))


def of_kind(
    kind: type[TaskKind] | TaskKind,
    laboratory: Laboratory | None = None,
    labelling: Labelling | None = None,
) -> Checked:
    """Return `kind` with its checks; `labelling` has labels that it accepts, where the checks find none by themselves."""
    return Checked(
        f"kind {kind.name}",
        KIND_CHECKS,
        lambda: KindSubject(kind, laboratory or shared_laboratory(), labelling),
    )


def of_part(part: Any, laboratory: Laboratory | None = None, settings: DataSettings | None = None) -> Checked:
    """Return `part`, which is any of these, with its checks.

    Raises:
        UsageError: it is none of them.
    """
    cls = part if isinstance(part, type) else type(part)
    if issubclass(cls, Strategy):
        return of_strategy(part, laboratory)
    if issubclass(cls, Task):
        return of_task(part, laboratory, settings)
    if issubclass(cls, Metric):
        return of_metric(part)
    if issubclass(cls, TaskKind):
        return of_kind(part, laboratory)
    raise UsageError(
        f"{shown(part)} is no strategy, task, metric or kind of task; pass a class or an instance"
    )
