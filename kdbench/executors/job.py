"""What an executor runs and what it tells of it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kdbench.results.records import Status

Report = Callable[[str, int, int, float | None], None]
"""``report(phase, done, total, loss)``: how far a stage is."""


@dataclass(frozen=True)
class Stage:
    """A function to call in a process of its own, by name, so that any executor can send it anywhere."""

    function: str
    """``module:function``; it is called with `argument` and a `Report`."""
    argument: str
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables that stand before any library is loaded; a stage with some starts from nothing."""

    def run(self, report: Report) -> None:
        """Call the function here."""
        module, _, name = self.function.partition(":")
        getattr(importlib.import_module(module), name)(self.argument, report)


@dataclass(frozen=True)
class Job:
    """Stages that run one after another, each in a process of its own."""

    id: str
    stages: tuple[Stage, ...]
    log: Path
    """Takes what the stages print, and the traceback of one that raises."""
    timeout_s: float | None = None
    """For all stages together."""


@dataclass(frozen=True)
class Progress:
    """A running job says how far it is."""

    job_id: str
    phase: str
    done: int
    total: int
    loss: float | None


@dataclass(frozen=True)
class Ended:
    """A job ended."""

    job_id: str
    status: Status
    """``ok``, ``failed`` or ``timeout``."""
    reason: str | None
    """One line, where it is not ok."""
    seconds: float


Event = Progress | Ended


class Executor(Protocol):
    """Runs jobs, up to `capacity` at once."""

    capacity: int

    def start(self, job: Job) -> None:
        """Begin `job`."""

    def poll(self, timeout_s: float) -> list[Event]:
        """Return what happened since the last call; wait up to `timeout_s` for something to happen."""

    def stop(self) -> None:
        """End every running job at once; nothing is told of them."""
