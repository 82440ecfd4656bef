"""Stages for the tests of the executors: each does one thing that a stage may do to its process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from kdbench.utils.system import Report


def note_process(argument: str, report: Report) -> None:
    """Add this process's id and its parent's to the file that `argument` names."""
    with Path(argument).open("a") as file:
        file.write(f"{os.getpid()} {os.getppid()}\n")


def raise_error(argument: str, report: Report) -> None:
    """Raise a ValueError that says `argument`."""
    raise ValueError(argument)


def exit_politely(argument: str, report: Report) -> None:
    """Leave by SystemExit."""
    sys.exit(int(argument))


def exit_at_once(argument: str, report: Report) -> None:
    """Leave without a word."""
    os._exit(int(argument))


def kill_itself(argument: str, report: Report) -> None:
    """Die as a process does when the system runs out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def print_lines(argument: str, report: Report) -> None:
    """Print to both streams, as libraries do."""
    print(f"out {argument}")
    print(f"err {argument}", file=sys.stderr)


def hang(argument: str, report: Report) -> None:
    """Leave this process's id in the file that `argument` names, and do not come back."""
    note_process(argument, report)
    time.sleep(600)


def leave_a_child_behind(argument: str, report: Report) -> None:
    """Die while a process that was forked off here lives on."""
    if os.fork() == 0:
        hang(argument, report)
    while not Path(argument).exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


def count(argument: str, report: Report) -> None:
    """Report every number up to `argument`."""
    total = int(argument)
    for number in range(1, total + 1):
        report("counting", number, total, 1 / number)


def count_slowly(argument: str, report: Report) -> None:
    """Report every number up to `argument`, a twentieth of a second apart."""
    total = int(argument)
    for number in range(1, total + 1):
        report("counting", number, total, None)
        time.sleep(0.05)


def meet(argument: str, report: Report) -> None:
    """Return only when another stage with the same folder runs at the same moment."""
    folder = Path(argument)
    (folder / str(os.getpid())).touch()
    give_up = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2:
        if time.monotonic() > give_up:
            raise TimeoutError("nobody else came")
        time.sleep(0.05)


def note_environment(argument: str, report: Report) -> None:
    """Write into the file that `argument` names what this process started with."""
    loaded = "torch" in sys.modules
    import torch

    seen = {
        "torch was loaded": loaded,
        "variable": os.environ.get("OMP_NUM_THREADS"),
        "threads": torch.get_num_threads(),
    }
    Path(argument).write_text(json.dumps(seen))


def call_a_program(argument: str, report: Report) -> None:
    """Write what a program that is started here reads from standard input."""
    Path(argument).write_text(subprocess.run(["cat"], capture_output=True, text=True, check=True).stdout)
