"""Run the command line as `python -m kdbench` or `kdbench`: quiet at Ctrl-C while libraries load, too."""

from __future__ import annotations

import os
import resource
import signal
from types import FrameType
from typing import NoReturn

_LEAST_BYTES = 1 << 30


def main() -> None:
    """Run the command line, which is imported only now."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if 0 <= limit < _LEAST_BYTES:  # with less, a library waits for room for ever, and obeys no signal
        _fail(MemoryError(f"this process may use {limit >> 20} MB, as 'ulimit -v' says"))
    try:
        from kdbench.cli.main import main as run
    except Exception as error:  # a library without room may raise anything
        _fail(error)
    run()


def _fail(error: BaseException) -> NoReturn:
    """End with one line: where libraries find no room, nothing of kdbench is at hand."""
    reason = " ".join(f"{type(error).__name__} {error}".split())[:300]
    remedy = "free some memory, or install it again"
    os.write(2, f"kdbench: its libraries cannot be loaded ({reason}); {remedy}\n".encode(errors="replace"))
    os._exit(1)


def _leave(number: int, frame: FrameType | None) -> None:
    """End at once: nothing has been started or written."""
    os.write(2, b"kdbench: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
