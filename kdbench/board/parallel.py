"""Spread a large board's work over processes by joblib."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.resource_tracker import ensure_running
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def spread(function: Callable[[Item], Answer], items: Iterable[Item], jobs: int) -> Iterator[Answer]:
    """Begin to work off `items` in `jobs` processes, and return the answers in the order of the items.

    With one job there is no process: each item is worked off here when its answer is asked for.

    Args:
        function: of a module; what is done with an item.
        items: each is pickled, and so are the answers.
        jobs: how many processes; those of an earlier call are used again.
    """
    if jobs == 1:
        return map(function, items)
    from joblib import Parallel, delayed  # small boards do without it

    warnings.filterwarnings(
        "ignore", message=r".*tasks which were still being processed", category=UserWarning
    )
    if threading.excepthook is not _report:
        _report.report = threading.excepthook
        threading.excepthook = _report
    items = list(items)
    ensure_running()  # its start would undo the mask
    # Processes inherit the mask: Ctrl-C is for this one, which then ends them.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with _quiet_tracker():
            parallel = Parallel(n_jobs=jobs, return_as="generator", max_nbytes=None)
            answers = parallel(delayed(function)(item) for item in items)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return _or_here(answers, function, items)


@contextmanager
def _quiet_tracker() -> Iterator[None]:
    """Start processes whose tracker of semaphores does not warn of those that killed processes left."""
    before = os.environ.get("PYTHONWARNINGS", "")
    os.environ["PYTHONWARNINGS"] = f"{before},ignore:resource_tracker:UserWarning".lstrip(",")
    try:
        yield
    finally:
        os.environ["PYTHONWARNINGS"] = before


class _Report:
    """Report a thread's error, but not the one that loky's own thread ends with at Ctrl-C.

    It takes up work that the same thread has just cancelled. Everything has ended by then, nothing is lost.
    """

    report: Callable[[threading.ExceptHookArgs], object]

    def __call__(self, error: threading.ExceptHookArgs) -> None:
        of_loky = error.thread is not None and error.thread.name == "ExecutorManagerThread"
        if not (of_loky and error.exc_type is KeyError):
            self.report(error)


_report = _Report()


def _or_here(
    answers: Iterator[Answer], function: Callable[[Item], Answer], items: list[Item]
) -> Iterator[Answer]:
    """Yield `answers`; once a process was killed, for want of memory perhaps, the others are found here."""
    got = 0
    try:
        for answer in answers:
            yield answer
            got += 1
    except BrokenProcessPool:
        yield from map(function, items[got:])
