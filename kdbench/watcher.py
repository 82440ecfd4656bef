"""Who is told how a run goes on."""

from __future__ import annotations

from typing import Protocol

from kdbench.executors import Progress
from kdbench.plan import Plan
from kdbench.records import Status


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
