"""A run that is killed at random moments and started again ends as one that nobody disturbed."""

import os
import random
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers.commands import Command, comes_true

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("KDBENCH_TEST_KILLS", "3"))
"""In all; a patient tester may ask for more."""
LONGEST_S = 5.0
"""A kill comes so many seconds, at most, after the plan or the end of a cell."""
PLANNED_OR_ENDED = r"(?m)^\d+ cells? \(|^ *\d+/\d+ ok "
CELLS = 5


class Series:
    """A run that is killed again and again until it was killed often enough, and then left to finish."""

    def __init__(self, command, seed):
        self.command = command
        self.killed = 0
        self.remade = []
        """Whatever was made again although it had been finished."""
        self._draw = random.Random(seed)

    def go(self, kills):
        while self.killed < kills:
            self._start_and_kill()
        finished = self._finished()
        code, output = self.command.start().end()
        assert code == 0, output
        self._compare(finished)
        return self

    def _start_and_kill(self):
        finished = self._finished()
        run = self.command.start()
        cells = self._draw.randint(-1, CELLS - len(list(self.command.results.glob("records/*.json"))))
        if cells >= 0:  # or else at once, wherever the start has got to
            run.wait_until(lambda: run.is_over() or len(re.findall(PLANNED_OR_ENDED, run.output)) > cells)
        give_up = time.monotonic() + self._draw.uniform(0, LONGEST_S)
        while time.monotonic() < give_up and not run.is_over():
            time.sleep(0.01)
        if run.is_over():  # all was done in time: begin once more
            assert run.end()[0] == 0
            self._compare(finished)
            self.command.results.rename(self.command.folder / f"results-{self.killed}")
            return
        run.signal(signal.SIGKILL)
        run.end()
        self.killed += 1
        # One that was just importing its libraries, on a busy machine, sees only afterwards that the run is gone.
        assert comes_true(lambda: not self.command.processes(), 90), "processes outlive the killed run"
        self._compare(finished)

    def _finished(self):
        """Return what must never be made again, each with the moment at which it was made."""
        results = self.command.results
        kinds = ("records/*.json", "models/*/fit.json", "teachers/*/training.json", "teachers/*/logits/*")
        return {path: path.stat().st_mtime_ns for kind in kinds for path in results.glob(kind)}

    def _compare(self, before):
        after = self._finished()
        self.remade += [path for path in before if after.get(path) != before[path]]


@pytest.fixture(scope="module")
def make_command(tmp_path_factory, tiny_model, toy_plugin):
    """Make a command with a cache of its own; what it left running is ended after the tests."""
    made = []

    def make(*settings):
        folder = tmp_path_factory.mktemp("killed")
        command = Command(folder, model=tiny_model, plugins=[toy_plugin], cache=folder / "cache")
        command.settings += [
            "--task",
            "toy-sentiment",
            "--strategy",
            "vanilla-kd",
            "--strategy",
            "bilstm",
            *settings,
        ]
        made.append(command)
        return command

    yield make
    for command in made:
        command.kill()


@pytest.fixture(scope="module")
def undisturbed(make_command):
    command = make_command("--executor", "inline")
    done = command.run()
    assert done.returncode == 0, done.stderr
    return command


@pytest.fixture(scope="module")
def disturbed(make_command):
    """Two series at once, one with two cells at a time."""
    series = [Series(make_command("--workers", str(workers)), seed=workers) for workers in (1, 2)]
    with ThreadPoolExecutor() as pool:
        return list(pool.map(Series.go, series, [(KILLS + 1) // 2, KILLS // 2]))


def test_every_quality_figure_and_answer_is_that_of_an_undisturbed_run(undisturbed, disturbed):
    expected = undisturbed.records()
    assert len(expected) == CELLS
    for series in disturbed:
        found = series.command.records()
        assert set(found) == set(expected)
        for cell, record in found.items():
            assert (record.key, record.quality) == (expected[cell].key, expected[cell].quality)
            answers = [
                (command.results / "predictions" / f"{record.key}.safetensors").read_bytes()
                for command in (series.command, undisturbed)
            ]
            assert answers[0] == answers[1]


def test_no_cell_and_no_teacher_that_was_finished_was_made_again(disturbed):
    assert sum(series.killed for series in disturbed) >= KILLS
    assert [series.remade for series in disturbed] == [[], []]


def test_nothing_half_written_and_no_process_is_left(disturbed):
    for series in disturbed:
        assert list(series.command.folder.rglob("*.kdbench-partial")) == []
        # Beside what the runs printed there is only the socket folder of a killed server of processes: Python's own.
        scratch = {path.name.split("-")[0] for path in series.command.scratch.iterdir()}
        assert scratch <= {"output", "pymp"}
        assert comes_true(lambda series=series: not series.command.processes())
