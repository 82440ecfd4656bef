"""Run the command line as `python -m kdbench` or `kdbench`: quiet at Ctrl-C while libraries load, too."""

from __future__ import annotations

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command line, which is imported only now."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    from kdbench.cli.main import main as run

    run()


def _leave(number: int, frame: FrameType | None) -> None:
    """End at once: nothing has been started or written."""
    os.write(2, b"kdbench: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
