"""Run each job in processes of its own, so that a crash, a time-out or a lack of memory ends only that job."""

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

from kdbench.config import RunConfig
from kdbench.results.records import Status
from kdbench.run.executor import (
    Ended,
    Event,
    Executor,
    InlineExecutor,
    Job,
    Progress,
    Remark,
    Stage,
    exit_reason,
    failure_reason,
)
from kdbench.utils.remarks import remarks_to
from kdbench.utils.system import default_threads

_SECONDS_BETWEEN_REPORTS = 0.1


def child_main(connection: Connection, function: str, argument: str, log: str, threads: int | None) -> None:
    """Run one stage; send progress and the reason of a failure to the parent, and all output to `log`.

    Without `threads`, the number of torch's threads is left to the environment.
    """
    os.setpgid(0, 0)  # a process group of its own, so that the stage's children can be killed with it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends its children itself
    _redirect_output(log)
    threading.Thread(target=_end_with_parent, args=(connection,), daemon=True).start()
    if threads is not None:
        import torch  # not at the top: a stage with its own environment must set that first

        torch.set_num_threads(threads)
    last_report = 0.0

    def report(phase: str, done: int, total: int, loss: float | None) -> None:
        nonlocal last_report
        now = time.monotonic()
        if done >= total or now - last_report >= _SECONDS_BETWEEN_REPORTS:
            last_report = now
            connection.send(("progress", phase, done, total, loss))

    try:
        with remarks_to(lambda line: connection.send(("remark", line))):
            Stage(function, argument).run(report)
    except BaseException as error:
        connection.send(("failure", failure_reason(error)))
        traceback.print_exc()  # last, since it fails if the disk is full
        sys.exit(1)


def _end_with_parent(connection: Connection) -> None:
    """Kill this process and its group when the parent ends, even by SIGKILL: else two runs could share a folder."""
    try:
        connection.recv()
    except (EOFError, OSError):
        os.killpg(0, signal.SIGKILL)


def _redirect_output(log: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


# Imported once by the fork server that forks every stage's process: a process then starts in one second instead of six.
# Importing is all it may do: a thread pool started in the server would be broken in every child.
_PRELOADED = ["torch", "transformers", "datasets", "peft", "kdbench.run.cell"]
_MAX_TEMPORARY_FOLDER_BYTES = 70
"""The server's socket adds 32 bytes, and a socket's path may have 103 bytes on macOS, 107 on Linux."""


class ProcessExecutor:
    """Runs up to `workers` jobs at once, with `threads` threads each."""

    def __init__(self, workers: int = 1, threads: int | None = None) -> None:
        self.capacity = workers
        self._threads = threads or default_threads(workers)
        # Spinning OpenMP threads would take cores from working ones whenever other processes run on the machine.
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
        """Return the events since the last call; wait up to `timeout_s` for one."""
        deadlines = [running.deadline for running in self._running if running.deadline is not None]
        if deadlines:
            timeout_s = min(timeout_s, max(0.0, min(deadlines) - time.monotonic()))
        wait([handle for running in self._running for handle in running.handles], timeout_s)
        return [event for running in list(self._running) for event in self._check(running)]

    def stop(self) -> None:
        """Kill every running job."""
        for running in self._running:
            running.kill()
        self._running.clear()

    def _check(self, running: _Running) -> list[Event]:
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
        parent_end, child_end = context.Pipe()
        threads = None if stage.environment else self._threads
        process = context.Process(
            target=child_main, args=(child_end, stage.function, stage.argument, str(job.log), threads)
        )
        with _environment(stage.environment), _ctrl_c_blocked():
            if context is self._fresh:
                process.start()
            else:
                with _short_temporary_folder():
                    forkserver.ensure_running()
        if context is not self._fresh:
            process.start()  # the first call waits until the server has imported its libraries
        child_end.close()  # the end of the pipe then means the end of the process
        return _Running(job, index, process, parent_end, started)


def executor_of(config: RunConfig) -> Executor:
    """Return the executor that the settings choose."""
    if config.executor == "inline":
        return InlineExecutor()
    return ProcessExecutor(config.worker_count, config.threads)


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
        """The handles to wait on: they are ready when the process sends a message or ends."""
        return self.connection, self.process.sentinel

    @property
    def deadline(self) -> float | None:
        return None if self.job.timeout_s is None else self.started + self.job.timeout_s

    def read(self) -> list[Event]:
        """Return the progress that the process reported since the last call."""
        events: list[Event] = []
        # Checked before reading, so that no message is missed. The end of the pipe would not suffice: a process
        # forked by the stage keeps it open.
        self.closed = self.process.exitcode is not None
        try:
            while self.connection.poll():
                message = self.connection.recv()
                if message[0] == "progress":
                    events.append(Progress(self.job.id, *message[1:]))
                elif message[0] == "remark":
                    events.append(Remark(self.job.id, message[1]))
                else:
                    self.failure = message[1]
        except (EOFError, ConnectionResetError):
            self.closed = True
        return events

    def kill(self) -> None:
        """Kill the process and all processes that it started."""
        assert self.process.pid is not None  # it was started
        with suppress(OSError):  # the group has ended, or was not created yet
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.connection.close()


@contextmanager
def _short_temporary_folder() -> Iterator[None]:
    """Use a temporary folder short enough for the path of a socket that is created in the block."""
    before = tempfile.tempdir
    if len(os.fsencode(tempfile.gettempdir())) > _MAX_TEMPORARY_FOLDER_BYTES:
        tempfile.tempdir = "/tmp"
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Block Ctrl-C for processes started in the block, which would print a traceback into the terminal."""
    resource_tracker.ensure_running()  # if started in the block, it would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Let processes started in the block inherit `variables`."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
