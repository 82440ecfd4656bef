"""A board's work, shared with another process."""

import os
import signal
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
from drawn_board import load, make_results

from kdbench.board.loaded import load_cells
from kdbench.board.pictures.all import draw, planned
from kdbench.board.second_process import SecondProcess
from kdbench.board.statistics import Known, all_statistics


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


def divide_by_zero(item):
    return item / 0


@pytest.fixture
def pictures(tmp_path):
    make_results(tmp_path)
    return [picture for picture in planned(*load(tmp_path)) if picture.name in ("gap-reviews", "ranks")]


@pytest.fixture
def second(monkeypatch):
    monkeypatch.setattr("kdbench.board.second_process.usable_cores", lambda: 2)
    with SecondProcess() as process:
        yield process


def test_another_process_draws_the_same_bytes_wherever_it_starts(second, pictures, tmp_path, monkeypatch):
    (tmp_path / "pickle.py").write_text("raise SystemExit('a file of the user, of no concern to a board')")
    monkeypatch.chdir(tmp_path)
    second.start("kdbench.board.pictures.all")
    for _ in range(2):
        assert [second.call(draw, picture) for picture in pictures] == [draw(picture) for picture in pictures]


def test_answers_come_in_the_order_of_the_items_of_which_both_take_some(second):
    second.start()
    second.call(process_of, 0)  # until then it is loading
    answers = second.share(wait, [0.05] * 20).results()
    assert set(answers) == {os.getpid(), second._process.pid}
    assert [item for item, _ in second.share(process_of, range(200)).results()] == list(range(200))
    assert second.share(process_of, []).results() == []


def test_the_other_process_begins_before_anybody_asks_for_results(second):
    second.start()
    shared = second.share(wait, [0.0] * 3)
    shared._there.result(60)
    assert shared.results() == [second._process.pid] * 3


@pytest.mark.parametrize("python", ["", "/bin/false", "/bin/echo", "/no/such/python"])
def test_what_no_other_process_does_is_done_here(second, pictures, python, monkeypatch):
    monkeypatch.setattr(sys, "executable", python)
    second.start("kdbench.board.pictures.all")
    for _ in range(2):
        assert second.share(draw, pictures).results() == [draw(picture) for picture in pictures]


def test_without_a_second_core_no_process_is_started(second, monkeypatch):
    monkeypatch.setattr("kdbench.board.second_process.usable_cores", lambda: 1)
    second.start()
    assert second._process is None
    assert second.share(process_of, [1, 2]).results() == [(1, os.getpid()), (2, os.getpid())]


@pytest.mark.parametrize("harm", [kill_itself, return_what_cannot_be_pickled, raise_there])
def test_what_fails_there_is_done_here(second, harm):
    second.start()
    shared = second.share(harm, [os.getpid()] * 3)
    shared._there.result(60)
    assert [len(answer) for answer in shared.results()] == [1, 1, 1]
    assert second._process.returncode is not None


def test_what_fails_here_too_is_raised(second):
    second.start()
    with pytest.raises(ZeroDivisionError):
        second.share(divide_by_zero, [1, 2, 3]).results()


def test_a_process_that_takes_too_long_is_ended(second, monkeypatch):
    monkeypatch.setattr("kdbench.board.second_process._PATIENCE_S", 0.01)
    second.start()
    second.call(process_of, 0)
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


def test_statistics_are_the_same_wherever_they_are_found(second, tmp_path):
    make_results(tmp_path)
    cells = load_cells(tmp_path, budget="quick").cells
    alone, both = Known(), Known()
    found_alone = all_statistics(cells, tmp_path, alone)
    second.start("kdbench.board.statistics")
    found = all_statistics(cells, tmp_path, both, second)
    assert second._process.poll() is None
    assert list(found) == list(found_alone)
    for task, statistics in found.items():
        assert statistics.rows == found_alone[task].rows
        assert statistics.intervals == found_alone[task].intervals
        assert statistics.gaps == found_alone[task].gaps
        assert statistics.behaviour == found_alone[task].behaviour
        np.testing.assert_array_equal(statistics.holm_p, found_alone[task].holm_p)
    for part in ("answers", "behaviour", "statistics"):
        assert getattr(both, part).keys() == getattr(alone, part).keys()
