"""Determine default numbers of workers and threads, derive seeds, pause garbage collection and start threads."""

from __future__ import annotations

import gc
import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
"""The environment's variables that set the thread counts of libraries."""
_BYTES_PER_CELL = 2 * 1024**3
"""Resident memory of a cell that trains a small BERT, with a margin."""


def default_workers() -> int:
    """Return one worker per core, limited by memory, or one worker if there is a GPU.

    The matrices of small encoders are too small for several threads: two cells with one thread each train 50% more
    tokens per second than one cell with two threads.
    """
    # Imported here to keep the command line fast.
    import psutil
    import torch

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        return 1
    memory: int = psutil.virtual_memory().total
    return max(1, min(usable_cores(), memory // _BYTES_PER_CELL))


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_threads(workers: int) -> int:
    """Return the number of threads per cell when `workers` cells share the cores equally."""
    return max(1, usable_cores() // workers)


Report = Callable[[str, int, int, float | None], None]
"""``report(phase, done, total, loss)`` reports the progress of a phase."""


_lock = threading.Lock()
_blocks = 0
"""The number of threads inside a `gc_paused` block."""
_was_enabled = True


@contextmanager
def gc_paused() -> Iterator[None]:
    """Disable the garbage collector inside the block, where many objects are created.

    This halves the time to read 10,000 records and saves a tenth of drawing a plot. Garbage is collected after the block.
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


@dataclass(frozen=True)
class Seconds:
    """What some work took."""

    wall: float
    """Seconds of the clock, which grow when other processes use the machine."""
    cpu: float | None
    """Seconds of all processors in this process; None where that is unknown."""

    def __add__(self, other: Seconds) -> Seconds:
        known = self.cpu is not None and other.cpu is not None
        return Seconds(self.wall + other.wall, (self.cpu or 0) + (other.cpu or 0) if known else None)


class Clock:
    """Measures what the work of this process takes, from its creation on."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> Seconds:
        """Return what was taken so far."""
        return Seconds(time.perf_counter() - self._wall, time.process_time() - self._cpu)


def axis_seed(seed: int, axis: str) -> int:
    """Return the 31-bit seed of one source of randomness, `axis`, for the repetition `seed`.

    The axes of training are ``data`` (order of examples), ``init`` (new weights), ``dropout``, and ``strategy`` (a
    strategy's own random draws).
    """
    return int.from_bytes(hashlib.sha256(f"{seed}/{axis}".encode()).digest()[:4], "big") >> 1


def start_thread(name: str, work: Callable[[], object]) -> threading.Thread:
    """Start `work` in a daemon thread that blocks SIGINT and SIGTERM, so that the main thread receives them."""

    def run() -> None:
        # Threads started by this one inherit the mask. A signal delivered to one of them would not wake the main thread.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        work()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread
