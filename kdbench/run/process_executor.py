"""Jobs in processes of their own: a crash, a time-out or a lack of memory ends one job and no other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess

from kdbench.results.records import Status
from kdbench.run.executor import (
    Ended,
    Event,
    Executor,
    InlineExecutor,
    Job,
    Progress,
    Stage,
    exit_reason,
    one_line,
)
from kdbench.utils.system import Report, default_threads

_SECONDS_BETWEEN_REPORTS = 0.1


def child_main(connection: Connection, function: str, argument: str, log: str, threads: int | None) -> None:
    """Run one stage; tell the parent how far it is and why it failed, and write everything else to `log`.

    Args:
        threads: how many torch may use; None leaves that to the environment.
    """
    os.setpgid(0, 0)  # a group of its own, so that what the stage starts can be ended with it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its children itself
    _write_output_to(log)
    threading.Thread(target=_end_with_parent, args=(connection,), daemon=True).start()
    if threads is not None:
        _set_threads(threads)
    last_report = 0.0

    def report(phase: str, done: int, total: int, loss: float | None) -> None:
        nonlocal last_report
        now = time.monotonic()
        if done >= total or now - last_report >= _SECONDS_BETWEEN_REPORTS:
            last_report = now
            connection.send(("progress", phase, done, total, loss))

    try:
        Stage(function, argument).run(report)
    except BaseException as error:
        connection.send(("failure", one_line(error)))
        traceback.print_exc()  # last, since it fails where the disk is full
        sys.exit(1)


def _end_with_parent(connection: Connection) -> None:
    """End this process and its group when the parent is gone, even by SIGKILL: two runs would else share a folder."""
    try:
        connection.recv()
    except (EOFError, OSError):
        os.killpg(0, signal.SIGKILL)


def _write_output_to(log: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def _set_threads(threads: int) -> None:
    import torch  # only here: a stage that brings its own environment must not load it before its time

    torch.set_num_threads(threads)


# Imported once, in a server that forks every stage's process off itself: a fresh process then starts in a second
# instead of six. Imports alone: a thread pool started in the server would be broken in every child.
_PRELOADED = ["torch", "transformers", "datasets", "peft", "kdbench.run.cell"]
_LONGEST_TEMPORARY_FOLDER = 70
"""Bytes; the server's socket adds 32, and the path of a socket has 103 on macOS, 107 on Linux."""


class ProcessExecutor:
    """Runs up to `workers` jobs at once; each gets `threads` threads."""

    def __init__(self, workers: int = 1, threads: int | None = None) -> None:
        self.capacity = workers
        self._threads = threads or default_threads(workers)
        # A waiting thread that spins takes the core from one that works as soon as anything else runs on the machine.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        self._fresh = multiprocessing.get_context("spawn")
        self._context: ForkServerContext | SpawnContext = self._fresh
        if "forkserver" in multiprocessing.get_all_start_methods():
            self._context = multiprocessing.get_context("forkserver")
            self._context.set_forkserver_preload(_PRELOADED)
        self._running: list[_Running] = []

    def start(self, job: Job) -> None:
        """Start the first stage of `job`."""
        job.log.parent.mkdir(parents=True, exist_ok=True)
        job.log.write_bytes(b"")
        self._running.append(self._spawn(job, 0, time.monotonic()))

    def poll(self, timeout_s: float) -> list[Event]:
        """Return what happened since the last call; wait up to `timeout_s` for something to happen."""
        deadlines = [running.deadline for running in self._running if running.deadline is not None]
        if deadlines:
            timeout_s = min(timeout_s, max(0.0, min(deadlines) - time.monotonic()))
        wait([handle for running in self._running for handle in running.handles], timeout_s)
        events: list[Event] = []
        for running in list(self._running):
            events += self._look_at(running)
        return events

    def stop(self) -> None:
        """Kill every running job."""
        for running in self._running:
            running.kill()
        self._running.clear()

    def _look_at(self, running: _Running) -> list[Event]:
        events = running.read()
        if not running.closed:
            if running.deadline is None or time.monotonic() < running.deadline:
                return events
            reason = f"took longer than {running.job.timeout_s:g} s"
            return [*events, self._finish(running, Status.TIMEOUT, reason)]
        running.process.join()
        code = running.process.exitcode
        if running.failure is not None or code != 0:
            reason = running.failure or exit_reason(code or 0)
            return [*events, self._finish(running, Status.FAILED, reason)]
        if running.stage + 1 == len(running.job.stages):
            return [*events, self._finish(running, Status.OK, None)]
        running.kill()
        self._running.remove(running)
        self._running.append(self._spawn(running.job, running.stage + 1, running.started))
        return events

    def _finish(self, running: _Running, status: Status, reason: str | None) -> Ended:
        running.kill()
        self._running.remove(running)
        return Ended(running.job.id, status, reason, time.monotonic() - running.started)

    def _spawn(self, job: Job, index: int, started: float) -> _Running:
        stage = job.stages[index]
        context = self._fresh if stage.environment else self._context
        ours, theirs = context.Pipe()
        threads = None if stage.environment else self._threads
        process = context.Process(
            target=child_main, args=(theirs, stage.function, stage.argument, str(job.log), threads)
        )
        with _environment(stage.environment), _ctrl_c_blocked():
            if context is self._fresh:
                process.start()
            else:
                with _short_temporary_folder():
                    forkserver.ensure_running()
        if context is not self._fresh:
            process.start()  # the first time this waits until the server has its libraries
        theirs.close()  # the end of the pipe then means the end of the process
        return _Running(job, index, process, ours, started)


@dataclass
class _Running:
    job: Job
    stage: int
    process: BaseProcess
    connection: Connection
    started: float
    closed: bool = False
    failure: str | None = None

    @property
    def handles(self) -> tuple[Connection, int]:
        """What becomes ready when the process tells something or ends."""
        return self.connection, self.process.sentinel

    @property
    def deadline(self) -> float | None:
        return None if self.job.timeout_s is None else self.started + self.job.timeout_s

    def read(self) -> list[Event]:
        """Return the progress that the process told since the last call."""
        events: list[Event] = []
        # Asked before reading, so that nothing comes after. The end of the pipe alone would not do: a process that
        # the stage forked off keeps it open.
        self.closed = self.process.exitcode is not None
        try:
            while self.connection.poll():
                message = self.connection.recv()
                if message[0] == "progress":
                    events.append(Progress(self.job.id, *message[1:]))
                else:
                    self.failure = message[1]
        except (EOFError, ConnectionResetError):
            self.closed = True
        return events

    def kill(self) -> None:
        """End the process and all that it started."""
        assert self.process.pid is not None  # it was started
        with suppress(OSError):  # nothing of the group is left, or it has not made it yet
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.connection.close()


@contextmanager
def _short_temporary_folder() -> Iterator[None]:
    """Let a socket that is made in the block have a path that no system finds too long."""
    before = tempfile.tempdir
    if len(os.fsencode(tempfile.gettempdir())) > _LONGEST_TEMPORARY_FOLDER:
        tempfile.tempdir = "/tmp"
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Let what starts in the block never see Ctrl-C, which would have it print a traceback into the terminal."""
    resource_tracker.ensure_running()  # started in the block, it would unblock what is blocked
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Let a process that starts in the block inherit `variables`."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


__all__ = [
    "Ended",
    "Event",
    "Executor",
    "InlineExecutor",
    "Job",
    "ProcessExecutor",
    "Progress",
    "Report",
    "Stage",
]
