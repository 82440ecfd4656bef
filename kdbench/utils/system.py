"""How much a machine runs at once where the user says nothing."""

from __future__ import annotations

import gc
import hashlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_BYTES_A_CELL = 2 * 1024**3
"""Resident memory of a cell that trains a small BERT, with some to spare."""


def default_workers() -> int:
    """Return one worker a core as far as memory goes, and one where a GPU does the work.

    The matrices of small encoders are too small for several threads: two cells of one thread each train half as many
    tokens again in a second as one cell of two threads.
    """
    import torch  # the flags are read without it

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        return 1
    cores = usable_cores()
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not told on this system
        return max(1, cores // 2)
    return max(1, min(cores, memory // _BYTES_A_CELL))


def usable_cores() -> int:
    """Return on how many cores this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_threads(workers: int) -> int:
    """Return how many threads each of `workers` cells may use: the cores in equal shares."""
    return max(1, usable_cores() // workers)


Report = Callable[[str, int, int, float | None], None]
"""``report(phase, done, total, loss)``: how far a stage is."""


_lock = threading.Lock()
_blocks = 0
"""How many threads are in a block."""
_was_enabled = True


@contextmanager
def no_collecting() -> Iterator[None]:
    """Let the block make many objects without all of them being looked through for garbage again and again.

    Reading 10,000 records then takes half of the time, and drawing a picture a tenth less. What the block leaves is
    collected after it.
    """
    global _blocks, _was_enabled
    with _lock:
        if not _blocks:
            _was_enabled = gc.isenabled()
            gc.disable()
        _blocks += 1
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if not _blocks and _was_enabled:
                gc.enable()


def axis_seed(seed: int, axis: str) -> int:
    """Return the 31-bit seed of one `axis` within the repetition `seed`.

    The axes of training: ``data`` (the order), ``init`` (fresh weights), ``dropout``, and ``strategy`` (what it draws itself).
    """
    return int.from_bytes(hashlib.sha256(f"{seed}/{axis}".encode()).digest()[:4], "big") >> 1


def start_thread(name: str, work: Callable[[], object]) -> threading.Thread:
    """Start `work` in a thread that ends with the process and leaves Ctrl-C and its like to the main thread."""

    def run() -> None:
        # Inherited by the threads that it starts. Delivered to one of them, a signal would not wake the main thread.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        work()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread
