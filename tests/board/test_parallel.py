"""A board's work, shared with another process."""

import os
import signal
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
from helpers.drawn_board import load, make_results

from kdbench.board.load import load_cells
from kdbench.board.parallel import SecondProcess, Shared
from kdbench.board.statistics import Known, all_statistics
from kdbench.config import default_cache_dir
from kdbench.render.plots.draw import draw, planned
from kdbench.render.write import write_board


def process_of(item):
    return item, os.getpid()


def wait(seconds):
    time.sleep(seconds)
    return os.getpid()


def sleep_there(here):
    if os.getpid() != here:
        time.sleep(600)
    return "done here"


def kill_itself(here):
    if os.getpid() != here:
        os.kill(os.getpid(), signal.SIGKILL)
    return "1"


def return_what_cannot_be_pickled(here):
    return [1] if os.getpid() == here else (lambda: 1)


def raise_there(here):
    if os.getpid() != here:
        raise OSError
    return "1"


def print_something(item):
    print("loaded", flush=True)
    return item


def done_there(shared):
    """Return the answers when the other process has worked off all items that it does not fail at."""
    shared._remote.result(60)
    return shared.results()


def divide_by_zero(item):
    return item / 0


@pytest.fixture
def pictures(tmp_path):
    make_results(tmp_path)
    return [picture for picture in planned(*load(tmp_path)) if picture.name in ("gap-reviews", "ranks")]


@pytest.fixture
def second(monkeypatch):
    monkeypatch.setattr("kdbench.board.parallel.usable_cores", lambda: 2)
    with SecondProcess() as process:
        yield process


def test_another_process_draws_the_same_bytes_wherever_it_starts(second, pictures, tmp_path, monkeypatch):
    (tmp_path / "pickle.py").write_text("raise SystemExit('a file of the user, of no concern to a board')")
    monkeypatch.chdir(tmp_path)
    second.start("kdbench.render.plots.draw")
    for _ in range(2):
        assert done_there(second.share(draw, pictures)) == [draw(picture) for picture in pictures]


def test_answers_come_in_the_order_of_the_items_of_which_both_take_some(second):
    second.start()
    done_there(second.share(process_of, [0]))  # until then it is loading
    answers = second.share(wait, [0.05] * 20).results()
    assert set(answers) == {os.getpid(), second._process.pid}
    assert [item for item, _ in second.share(process_of, range(200)).results()] == list(range(200))
    assert second.share(process_of, []).results() == []


def test_the_other_process_begins_before_anybody_asks_for_results(second):
    second.start()
    assert done_there(second.share(wait, [0.0] * 3)) == [second._process.pid] * 3


def test_who_has_done_all_does_not_wait_until_the_other_has_loaded(second):
    second.start("kdbench.render.plots.draw")
    shared = second.share(process_of, [1])
    assert shared.results() == [(1, os.getpid())]
    assert shared._remote.cancelled()


def test_what_a_plugin_prints_there_is_no_answer(second):
    second.start()
    assert done_there(second.share(print_something, [1, 2])) == [1, 2]


@pytest.mark.parametrize("python", ["", "/bin/false", "/bin/echo", "/no/such/python"])
def test_what_no_other_process_does_is_done_here(second, pictures, python, monkeypatch):
    monkeypatch.setattr(sys, "executable", python)
    second.start("kdbench.render.plots.draw")
    for _ in range(2):
        assert second.share(draw, pictures).results() == [draw(picture) for picture in pictures]


def test_without_a_second_core_no_process_is_started(second, monkeypatch):
    monkeypatch.setattr("kdbench.board.parallel.usable_cores", lambda: 1)
    second.start()
    assert second._process is None
    assert second.share(process_of, [1, 2]).results() == [(1, os.getpid()), (2, os.getpid())]


@pytest.mark.parametrize("harm", [kill_itself, return_what_cannot_be_pickled, raise_there])
def test_what_fails_there_is_done_here(second, harm):
    second.start()
    shared = second.share(harm, [os.getpid()] * 3)
    shared._remote.result(60)
    assert [len(answer) for answer in shared.results()] == [1, 1, 1]
    assert second._process.returncode is not None


def test_what_fails_here_too_is_raised(second):
    second.start()
    with pytest.raises(ZeroDivisionError):
        second.share(divide_by_zero, [1, 2, 3]).results()


def test_a_process_that_takes_too_long_is_ended(second, monkeypatch):
    monkeypatch.setattr("kdbench.board.parallel._TIMEOUT_S", 0.01)
    second.start()
    done_there(second.share(process_of, [0]))
    shared = second.share(sleep_there, [os.getpid()])
    while shared._waiting:
        time.sleep(0.01)
    assert shared.results() == ["done here"]
    assert second._process.returncode is not None


def test_a_process_ends_with_the_block(second):
    with suppress(KeyboardInterrupt), second:
        second.start()
        second.share(sleep_there, [0])
        raise KeyboardInterrupt
    assert second._process.returncode is not None


@pytest.fixture
def all_there(monkeypatch):
    """Let the other process work off whatever is shared; the items that it did are listed."""
    done, call = [], SecondProcess.call
    monkeypatch.setattr(SecondProcess, "call", lambda *asked: (call(*asked), done.append(asked[-1]))[0])
    results = Shared.results
    monkeypatch.setattr(
        Shared, "results", lambda shared: (shared._remote and shared._remote.result(60), results(shared))[1]
    )
    return done


def test_statistics_are_the_same_wherever_they_are_found(second, all_there, tmp_path):
    make_results(tmp_path)
    cells = load_cells(tmp_path, budget="quick").cells
    alone, both = Known(), Known()
    found_alone = all_statistics(cells, tmp_path, alone)
    second.start("kdbench.board.statistics")
    found = all_statistics(cells, tmp_path, both, second)
    assert len(all_there) == 1 + cells["task"].nunique()  # it loaded what it needs, too
    assert list(found) == list(found_alone)
    for task, statistics in found.items():
        assert statistics.rows == found_alone[task].rows
        assert statistics.intervals == found_alone[task].intervals
        assert statistics.gaps == found_alone[task].gaps
        assert statistics.behaviour == found_alone[task].behaviour
        np.testing.assert_array_equal(statistics.holm_p, found_alone[task].holm_p)
    for part in ("answers", "behaviour", "by_class", "statistics"):
        assert getattr(both, part).keys() == getattr(alone, part).keys()


def test_a_large_board_is_that_which_one_process_draws(all_there, tmp_path, monkeypatch):
    make_results(tmp_path)
    write_board(tmp_path, tmp_path / "alone", budget="quick", cache=default_cache_dir())
    assert all_there == []
    monkeypatch.setattr("kdbench.board.parallel.usable_cores", lambda: 2)
    monkeypatch.setattr("kdbench.render.write._MANY_TASKS", 2)
    written = write_board(tmp_path, tmp_path / "shared", budget="quick", cache=default_cache_dir()).written
    assert len(all_there) == 1 + 2 + 9  # what is loaded, the tasks, the pictures
    for file in written:
        name = file.relative_to(tmp_path / "shared")
        assert file.read_bytes() == (tmp_path / "alone" / name).read_bytes(), name
