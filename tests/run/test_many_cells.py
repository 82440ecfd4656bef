"""Thousands of cells: files, memory, descriptors and threads do not grow with their number.

`KDBENCH_TEST_CELLS=1000` runs so many (some minutes); descriptors and files are counted exactly with a few, too.
"""

import os
from pathlib import Path

import helpers.failing_plugin
import psutil
import pytest
from helpers.training import no_report

from kdbench.api.spec import parse_spec
from kdbench.results.records import RecordStore
from kdbench.run.cell import CellOrder, score_cell, train_cell
from kdbench.run.executor import Ended, Job, Stage
from kdbench.run.process_executor import ProcessExecutor
from kdbench.utils.files import content_hash

pytestmark = pytest.mark.slow

CELLS = int(os.environ.get("KDBENCH_TEST_CELLS", "12"))
MOST_BYTES = 40_000
"""What the memory of a process may grow by per cell: 27 kB were measured over 600 cells in one process, of which 12 kB are
left by the library that reads tensors out of files. A run's cells have processes of their own unless it is inline."""
ENOUGH_CELLS = 500
"""As many are needed for memory to be measured."""


class Growth:
    """What a process has and `folders` hold, compared between the first third, when all caches are filled, and the end."""

    def __init__(self, *folders):
        self._process = psutil.Process()
        self._folders = folders
        self._first = None

    def note(self, number):
        """Note what there is after the cell `number` of `CELLS`."""
        if number == CELLS // 3:
            self._first = number, *self._now()
        if number == CELLS:
            self._last = number, *self._now()

    def per_cell(self):
        """Return files, descriptors, threads and bytes of memory that each further cell added."""
        (first, *before), (last, *after) = self._first, self._last
        return [(now - then) / (last - first) for then, now in zip(before, after, strict=True)]

    def _now(self):
        files = sum(1 for folder in self._folders for path in folder.rglob("*") if path.is_file())
        return files, self._process.num_fds(), self._process.num_threads(), self._process.memory_info().rss


def test_a_cell_adds_its_own_files_and_nothing_else(make_config, toy_plugin, tmp_path, capsys):
    plugins = {"modules": [str(toy_plugin), helpers.failing_plugin.__file__]}
    config = make_config(plugins=plugins, cache_dir=tmp_path / "cache")
    in_cells, in_cache = Growth(config.results), Growth(config.cache_dir)
    for number in range(1, CELLS + 1):
        key = content_hash(number)
        spec = parse_spec("does-nothing")
        order = CellOrder(config=config, spec=spec, task="toy-sentiment", seed=number % 100, key=key)
        for stage in (train_cell, score_cell):
            stage(order.model_dump_json(), no_report)
        in_cells.note(number)
        in_cache.note(number)
    records, problems = RecordStore(config.results).load()
    assert (len(records), problems) == (CELLS, [])
    files, descriptors, threads, memory = in_cells.per_cell()
    with capsys.disabled():
        print(f"\nper cell: {files} files, {descriptors} descriptors, {threads} threads, {memory:,.0f} bytes")
    # Record, two files of predictions, lock; artifact of five files, fit, probe, checksums.
    assert (files, descriptors, threads) == (12, 0, 0)
    assert in_cache.per_cell()[0] == 0
    assert CELLS < ENOUGH_CELLS or memory < MOST_BYTES


def test_a_job_in_processes_of_its_own_leaves_nothing_in_their_parent(tmp_path, capsys):
    executor, growth = ProcessExecutor(workers=2, threads=1), Growth()
    try:
        for number in range(1, CELLS + 1):
            stages = (Stage("helpers.stages:count", "1"),) * 2
            executor.start(Job(str(number), stages, Path(tmp_path / "job.log")))
            while not any(isinstance(event, Ended) for event in executor.poll(1.0)):
                pass
            growth.note(number)
    finally:
        executor.stop()
    files, descriptors, threads, memory = growth.per_cell()
    with capsys.disabled():
        print(f"\nper job: {descriptors} descriptors, {threads} threads, {memory:,.0f} bytes")
    assert (files, descriptors, threads) == (0, 0, 0)
    assert CELLS < ENOUGH_CELLS or memory < MOST_BYTES
    assert not psutil.Process().children() or all(
        child.status() != psutil.STATUS_ZOMBIE for child in psutil.Process().children()
    )
