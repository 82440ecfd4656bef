"""Strategies that each go wrong in one way; all are well where STRATEGIES_ARE_MENDED is set."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from torch import nn

from kdbench import Strategy, hookimpl


class _GoesWrong(Strategy):
    title = "One that goes wrong"
    citation = "Nobody 2026"
    family = "failing"

    def fit(self, bench):
        if "STRATEGIES_ARE_MENDED" in os.environ:
            return bench.train(bench.base())
        return self.go_wrong(bench)


class Raises(_GoesWrong):
    name = "raises"

    def go_wrong(self, bench):
        raise ValueError("no luck\n<b>at all</b> | here")


class LeavesAProgram(_GoesWrong):
    name = "leaves-a-program"

    def go_wrong(self, bench):
        subprocess.Popen(["sleep", "600"])
        raise RuntimeError("the program runs on")


class Exits(_GoesWrong):
    name = "exits"

    def go_wrong(self, bench):
        sys.exit(7)


class ExitsAtOnce(_GoesWrong):
    name = "exits-at-once"

    def go_wrong(self, bench):
        os._exit(7)


class IsKilled(_GoesWrong):
    name = "is-killed"

    def go_wrong(self, bench):
        os.kill(os.getpid(), signal.SIGKILL)


class EatsMemory(_GoesWrong):
    name = "eats-memory"

    def go_wrong(self, bench):
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + (200 << 20),) * 2)
        eaten = []
        while True:
            eaten.append(bytearray(20 << 20))


class ReturnsNothing(_GoesWrong):
    name = "returns-nothing"

    def go_wrong(self, bench):
        bench.base()


class CannotBeSaved(_GoesWrong):
    name = "cannot-be-saved"

    def go_wrong(self, bench):
        return nn.Linear(2, 2)


class Hangs(_GoesWrong):
    """Says that it is there in the file that HANGING_HERE names."""

    name = "hangs"

    def go_wrong(self, bench):
        if "HANGING_HERE" in os.environ:
            Path(os.environ["HANGING_HERE"]).write_text(str(os.getpid()))
        time.sleep(600)


class DoesNothing(Strategy):
    name = "does-nothing"
    title = "The base model with a fresh head, untrained"
    citation = "Nobody 2026"

    def fit(self, bench):
        return bench.base()


@hookimpl
def kdbench_strategies():
    # The one that hangs comes first: with two workers the others then have their turn beside it.
    return [
        Hangs,
        Raises,
        LeavesAProgram,
        Exits,
        ExitsAtOnce,
        IsKilled,
        EatsMemory,
        ReturnsNothing,
        CannotBeSaved,
        DoesNothing,
    ]
