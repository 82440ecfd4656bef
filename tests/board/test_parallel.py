"""A board's work, spread over processes."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from helpers.commands import PATIENCE_S
from helpers.drawn_board import load, make_results

from kdbench.board.load import load_cells
from kdbench.board.parallel import spread
from kdbench.board.statistics import Known, all_statistics
from kdbench.config import default_cache_dir
from kdbench.render.plots.draw import draw, planned
from kdbench.render.write import write_board


def process_of(item):
    return item, os.getpid()


def kill_itself_at_2(item):
    number, here = item
    if number == 2 and os.getpid() != here:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def divide_by_zero(item):
    return item / 0


def leave_a_file(path):
    path.touch()
    return path


def test_answers_of_other_processes_come_in_the_order_of_the_items():
    answers = list(spread(process_of, range(50), 2))
    assert [item for item, _ in answers] == list(range(50))
    assert os.getpid() not in {process for _, process in answers}
    assert list(spread(process_of, [], 2)) == []


def test_processes_begin_before_anybody_asks_for_answers(tmp_path):
    answers = spread(leave_a_file, [tmp_path / "begun"], 2)
    until = time.monotonic() + PATIENCE_S
    while not (tmp_path / "begun").exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert (tmp_path / "begun").exists()
    assert list(answers) == [tmp_path / "begun"]


def test_one_job_is_done_here():
    assert list(spread(process_of, [1, 2], 1)) == [(1, os.getpid()), (2, os.getpid())]


@pytest.mark.slow
def test_what_a_killed_process_had_is_done_here():
    items = [(number, os.getpid()) for number in range(6)]
    assert list(spread(kill_itself_at_2, items, 2)) == list(range(6))
    assert len(list(spread(process_of, items, 2))) == 6  # others are started


@pytest.mark.slow
def test_an_error_of_the_work_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(spread(divide_by_zero, [1, 2, 3], 2))


def test_only_the_error_that_ctrl_c_gives_loky_is_not_reported(monkeypatch):
    reported = []
    monkeypatch.setattr("threading.excepthook", lambda error: reported.append(error.thread.name))
    list(spread(abs, [1], 2))
    for name, error in [("ExecutorManagerThread", {}), ("ExecutorManagerThread", None), ("another", {})]:
        thread = threading.Thread(name=name, target=lambda error=error: error["gone"])
        thread.start()
        thread.join()
    assert reported == ["ExecutorManagerThread", "another"]


SCRIPT = """
import sys, time
print("once", flush=True)
from kdbench.board.parallel import spread
try:
    print(sum(spread(abs, range(-9, 0), 2)), flush=True)
    list(spread(time.sleep, [60] * 4, 2))
except KeyboardInterrupt:
    print("ended", flush=True)
"""


@pytest.mark.slow
def test_a_script_is_not_run_once_more_and_ends_at_ctrl_c(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    # A session of its own is a group of processes, all of which a terminal would send Ctrl-C to.
    with subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert [process.stdout.readline(), process.stdout.readline()] == ["once\n", "45\n"]
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate(timeout=PATIENCE_S) == ("ended\n", "")
    assert process.returncode == 0


@pytest.mark.slow
def test_pictures_and_statistics_are_the_same_wherever_they_are_made(tmp_path):
    make_results(tmp_path)
    pictures = [picture for picture in planned(*load(tmp_path)) if picture.name in ("gap-reviews", "ranks")]
    assert list(spread(draw, pictures, 2)) == [draw(picture) for picture in pictures]
    cells = load_cells(tmp_path, budget="quick").cells
    alone, both = Known(), Known()
    found_alone = all_statistics(cells, tmp_path, alone)
    found = all_statistics(cells, tmp_path, both, jobs=2)
    assert list(found) == list(found_alone)
    for task, statistics in found.items():
        assert statistics.rows == found_alone[task].rows
        assert statistics.intervals == found_alone[task].intervals
        assert statistics.gaps == found_alone[task].gaps
        assert statistics.behaviour == found_alone[task].behaviour
        np.testing.assert_array_equal(statistics.holm_p, found_alone[task].holm_p)
    for part in ("answers", "behaviour", "by_class", "statistics"):
        assert getattr(both, part).keys() == getattr(alone, part).keys()


@pytest.mark.slow
def test_a_board_of_many_tasks_is_that_which_one_process_draws(tmp_path, monkeypatch):
    make_results(tmp_path)
    write_board(tmp_path, tmp_path / "alone", budget="quick", cache=default_cache_dir())
    monkeypatch.setattr("kdbench.render.write.usable_cores", lambda: 2)
    monkeypatch.setattr("kdbench.render.write.MANY_TASKS", 2)
    written = write_board(tmp_path, tmp_path / "shared", budget="quick", cache=default_cache_dir()).written
    assert len(written) > 20
    for file in written:
        name = file.relative_to(tmp_path / "shared")
        assert file.read_bytes() == (tmp_path / "alone" / name).read_bytes(), name
