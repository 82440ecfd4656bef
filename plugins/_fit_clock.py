"""Count a fit without optimizer steps, and what it took."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kdbench import Bench

if TYPE_CHECKING:
    from datasets import Dataset


class FitClock:
    """Measures a fit from the clock's creation on."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def count(self, bench: Bench, rows: Dataset, score: float) -> None:
        """Report to `bench` that a fit on `rows` has ended, with its validation score."""
        bench.count_fit(time.perf_counter() - self._wall, rows, score, time.process_time() - self._cpu)
