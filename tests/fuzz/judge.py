"""Judge how a parser took an odd file: in bounded time and memory, and refused in one line or read rightly."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from hypothesis import HealthCheck, settings

from kdbench.errors import KdbenchError

_INPUTS = int(os.environ.get("KDBENCH_FUZZ_INPUTS", "0"))
_BATCH = 5000
BATCHES = max(1, -(-_INPUTS // _BATCH))
_SECONDS = 20
_BYTES = 2 << 30
LONGEST = 2000
"""Characters of a message."""


def fuzz(inputs: int) -> Callable[[Any], Any]:
    """Return the decorator of a test that gets this many inputs, the same each time.

    With ``KDBENCH_FUZZ_INPUTS`` it gets as many as that says, new ones each time.
    """
    return settings(
        max_examples=min(_INPUTS, _BATCH) or inputs,
        derandomize=not _INPUTS,
        database=None,
        report_multiple_bugs=False,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


class _EndlessError(BaseException):
    """Not caught by what catches every Exception."""


def _give_up(number: int, frame: FrameType | None) -> None:
    raise _EndlessError(f"took more than {_SECONDS} seconds")


@contextmanager
def bounded() -> Iterator[None]:
    """Fail if the block takes too long, or more memory than a damaged small file may cost."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    former = signal.signal(signal.SIGALRM, _give_up)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + _BYTES, limits[1]))
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    started = time.monotonic()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGALRM, former)
    assert time.monotonic() - started < _SECONDS


def taken(read: Callable[[], Any], *names: str | Path) -> tuple[Any, str | None]:
    """Return what `read` returns, or else the message of its `KdbenchError`, which is one line with all of `names`."""
    try:
        with bounded():
            return read(), None
    except KdbenchError as error:
        check_line(str(error), *names)
        return None, str(error)


def check_line(line: str, *names: str | Path) -> None:
    """Check that `line` is one of bounded length, which a terminal only shows, and that it has all of `names`."""
    assert line.isprintable(), ascii(line)
    assert len(line) <= LONGEST, f"{len(line)} characters: {line[:300]}"
    for name in names:
        assert str(name) in line, f"{name} is not in: {line}"
