"""Threads beside a run that take nothing from it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable


def start_thread(name: str, work: Callable[[], object]) -> threading.Thread:
    """Start `work` in a thread that ends with the process and leaves Ctrl-C and its like to the main thread."""

    def run() -> None:
        # Inherited by the threads that it starts. Delivered to one of them, a signal would not wake the main thread.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        work()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread
