"""What a stage's process does around the stage."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection

from kdbench.executors.job import Stage
from kdbench.executors.reasons import one_line

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
