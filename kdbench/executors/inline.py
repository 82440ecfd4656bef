"""Jobs in this very process: for debuggers, not for trust, since nothing is isolated."""

from __future__ import annotations

import time
import traceback

from kdbench.executors.job import Ended, Event, Job, Progress
from kdbench.executors.reasons import one_line
from kdbench.results.records import Status


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
