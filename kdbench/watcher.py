"""Who is told how a run goes on."""

from __future__ import annotations

from typing import Protocol

from kdbench.executors import Progress
from kdbench.plan import Plan
from kdbench.results.records import Status


class Watcher(Protocol):
    """Is told how a run goes on."""

    def planned(self, plan: Plan) -> None:
        """The run will do `plan`."""

    def started(self, name: str) -> None:
        """A cell, or the latency phase of a task, began."""

    def progressed(self, name: str, progress: Progress) -> None:
        """It is so far."""

    def ended(
        self, name: str, status: Status, reason: str | None, score: float | None, seconds: float
    ) -> None:
        """It ended."""

    def remark(self, line: str) -> None:
        """Something that the user should know."""


class Watchers:
    """Several watchers, each told all."""

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers = watchers

    def planned(self, plan: Plan) -> None:
        """Tell the plan."""
        for watcher in self._watchers:
            watcher.planned(plan)

    def started(self, name: str) -> None:
        """Tell a start."""
        for watcher in self._watchers:
            watcher.started(name)

    def progressed(self, name: str, progress: Progress) -> None:
        """Tell progress."""
        for watcher in self._watchers:
            watcher.progressed(name, progress)

    def ended(
        self, name: str, status: Status, reason: str | None, score: float | None, seconds: float
    ) -> None:
        """Tell an end."""
        for watcher in self._watchers:
            watcher.ended(name, status, reason, score, seconds)

    def remark(self, line: str) -> None:
        """Tell a remark."""
        for watcher in self._watchers:
            watcher.remark(line)
