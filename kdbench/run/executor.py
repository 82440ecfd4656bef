"""Define jobs, their events and the executor interface; run jobs in this process."""

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

from kdbench.errors import described
from kdbench.results.records import Status
from kdbench.utils.remarks import remarks_to
from kdbench.utils.system import Report


@dataclass(frozen=True)
class Stage:
    """A function to call in a process of its own, given by name so that it can be sent to any process."""

    function: str
    """``module:function``; it is called with `argument` and a `Report`."""
    argument: str
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables set before any library is loaded; a stage with some starts in a fresh interpreter."""

    def run(self, report: Report) -> None:
        """Call the function in this process."""
        module, _, name = self.function.partition(":")
        getattr(importlib.import_module(module), name)(self.argument, report)


@dataclass(frozen=True)
class Job:
    """Stages that run one after another, each in a process of its own."""

    id: str
    stages: tuple[Stage, ...]
    log: Path
    """Receives the output of the stages, and the traceback of one that raises."""
    timeout_s: float | None = None
    """For all stages together."""


@dataclass(frozen=True)
class Progress:
    """The progress of a running job."""

    job_id: str
    phase: str
    done: int
    total: int
    loss: float | None


@dataclass(frozen=True)
class Remark:
    """What a job tells the user."""

    job_id: str
    line: str


@dataclass(frozen=True)
class Ended:
    """The end of a job."""

    job_id: str
    status: Status
    """``ok``, ``failed`` or ``timeout``."""
    reason: str | None
    """One line, if the status is not ok."""
    seconds: float


Event = Progress | Remark | Ended


class Executor(Protocol):
    """Runs jobs, up to `capacity` at once."""

    capacity: int

    def start(self, job: Job) -> None:
        """Start `job`."""

    def poll(self, timeout_s: float) -> list[Event]:
        """Return the events since the last call; wait up to `timeout_s` for one."""

    def stop(self) -> None:
        """Kill every running job at once; no events follow."""


_MAX_REASON_LENGTH = 300
_DISK_FULL = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT))


def failure_reason(error: BaseException) -> str:
    """Return `error` as `described`, truncated to a readable length."""
    message = described(error)
    return message if len(message) <= _MAX_REASON_LENGTH else message[: _MAX_REASON_LENGTH - 1] + "…"


def exit_reason(code: int) -> str:
    """Return the reason that a process's exit code implies, for a process that reported none."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{hint}"
    return f"its process ended with exit code {code} and reported nothing"


def is_disk_full(reason: str) -> bool:
    """Return whether a job failed because the disk was full, whichever library reported it."""
    return any(words in reason for words in _DISK_FULL)


class InlineExecutor:
    """Runs each job to its end inside `start`, in this process; time limits do not apply."""

    capacity = 1

    def __init__(self) -> None:
        self._events: list[Event] = []

    def start(self, job: Job) -> None:
        """Run all stages of `job` in this process."""
        started = time.monotonic()

        def report(phase: str, done: int, total: int, loss: float | None) -> None:
            self._events.append(Progress(job.id, phase, done, total, loss))

        status, reason = Status.OK, None
        job.log.parent.mkdir(parents=True, exist_ok=True)
        job.log.write_bytes(b"")
        try:
            with remarks_to(lambda line: self._events.append(Remark(job.id, line))):
                for stage in job.stages:
                    stage.run(report)
        except (Exception, SystemExit) as error:
            job.log.write_text(traceback.format_exc())
            status, reason = Status.FAILED, failure_reason(error)
        self._events.append(Ended(job.id, status, reason, time.monotonic() - started))

    def poll(self, timeout_s: float) -> list[Event]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        """Do nothing: no job outlives `start`."""
