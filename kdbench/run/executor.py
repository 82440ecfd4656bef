"""What an executor runs and what it tells of it."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kdbench.errors import KdbenchError
from kdbench.results.records import Status
from kdbench.utils.system import Report


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


_LONGEST = 300
_NO_ROOM = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT))


def one_line(error: BaseException) -> str:
    """Return the error's type and message in one line of readable length."""
    message = " ".join(str(error).split())
    if not isinstance(error, KdbenchError):
        message = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return message if len(message) <= _LONGEST else message[: _LONGEST - 1] + "…"


def exit_reason(code: int) -> str:
    """Return what a process's exit code says, where the process itself said nothing."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{hint}"
    return f"its process ended with exit code {code} and said nothing"


def tells_of_a_full_disk(reason: str) -> bool:
    """Return whether a job ended for want of room, in whichever library the disk turned out to be full."""
    return any(words in reason for words in _NO_ROOM)


class InlineExecutor:
    """Runs each job to its end inside `start`; time limits do not apply."""

    capacity = 1

    def __init__(self) -> None:
        self._events: list[Event] = []

    def start(self, job: Job) -> None:
        """Run all stages of `job` here and now."""
        started = time.monotonic()

        def report(phase: str, done: int, total: int, loss: float | None) -> None:
            self._events.append(Progress(job.id, phase, done, total, loss))

        status, reason = Status.OK, None
        job.log.parent.mkdir(parents=True, exist_ok=True)
        job.log.write_bytes(b"")
        try:
            for stage in job.stages:
                stage.run(report)
        except (Exception, SystemExit) as error:
            job.log.write_text(traceback.format_exc())
            status, reason = Status.FAILED, one_line(error)
        self._events.append(Ended(job.id, status, reason, time.monotonic() - started))

    def poll(self, timeout_s: float) -> list[Event]:
        """Return what happened since the last call."""
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        """Do nothing: no job outlives `start`."""
