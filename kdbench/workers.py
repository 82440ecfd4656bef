"""How much a machine runs at once where the user says nothing."""

from __future__ import annotations

import os

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
