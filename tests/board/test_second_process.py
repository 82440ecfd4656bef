"""A part of a board's work in another process."""

import sys
import time
from contextlib import suppress

import numpy as np
import pytest
from drawn_board import load, make_results

from kdbench.board.loaded import load_cells
from kdbench.board.pictures.all import draw, planned
from kdbench.board.second_process import SecondProcess, parts
from kdbench.board.statistics import Known, all_statistics


@pytest.fixture
def pictures(tmp_path):
    make_results(tmp_path)
    return [picture for picture in planned(*load(tmp_path)) if picture.name in ("gap-reviews", "ranks")]


@pytest.fixture
def second():
    with SecondProcess() as process:
        yield process


def test_another_process_draws_the_same_bytes_wherever_it_starts(second, pictures, tmp_path, monkeypatch):
    (tmp_path / "pickle.py").write_text("raise SystemExit('a file of the user, of no concern to a board')")
    monkeypatch.chdir(tmp_path)
    for asked in [second.ask(draw, pictures), second.ask(draw, pictures[:1])]:
        asked._function = None  # so that nobody else answers
        assert asked.result() == draw(asked._arguments[0])


@pytest.mark.parametrize("python", ["", "/bin/false", "/bin/echo", "/no/such/python"])
def test_what_no_other_process_does_is_done_here(second, pictures, python, monkeypatch):
    monkeypatch.setattr(sys, "executable", python)
    for _ in range(2):
        assert set(second.ask(draw, pictures[-1:]).result()) == {"pictures/ranks.svg", "pictures/ranks.png"}


def test_a_process_that_takes_too_long_is_ended(second, monkeypatch):
    monkeypatch.setattr("kdbench.board.second_process._PATIENCE_S", 0.01)
    asked = second.ask(time.sleep, 1.0)
    started = time.monotonic()
    assert asked.result() is None
    assert time.monotonic() - started >= 1  # it was done here
    assert second._process.returncode is not None


def test_a_process_ends_with_the_block(pictures):
    with suppress(KeyboardInterrupt), SecondProcess() as second:
        second.ask(draw, pictures)
        raise KeyboardInterrupt
    assert second._process.returncode is not None


def test_work_is_parted_in_order_where_there_are_two_cores(monkeypatch):
    monkeypatch.setattr("kdbench.board.second_process.usable_cores", lambda: 2)
    assert parts([1, 2, 3, 4], 0.5) == ([1, 2], [3, 4])
    assert parts([1, 2, 3, 4], 0) == ([1, 2, 3, 4], [])
    monkeypatch.setattr("kdbench.board.second_process.usable_cores", lambda: 1)
    assert parts([1, 2, 3, 4], 0.5) == ([1, 2, 3, 4], ())


def test_statistics_are_the_same_wherever_they_are_found(second, tmp_path, monkeypatch):
    make_results(tmp_path)
    cells = load_cells(tmp_path, budget="quick").cells
    alone, both = Known(), Known()
    found_alone = all_statistics(cells, tmp_path, alone)
    monkeypatch.setattr("kdbench.board.statistics._MANY", 1)
    monkeypatch.setattr("kdbench.board.second_process.usable_cores", lambda: 2)
    found = all_statistics(cells, tmp_path, both, second)
    assert second._process is not None
    assert list(found) == list(found_alone)
    for task, statistics in found.items():
        assert statistics.rows == found_alone[task].rows
        assert statistics.intervals == found_alone[task].intervals
        assert statistics.gaps == found_alone[task].gaps
        assert statistics.behaviour == found_alone[task].behaviour
        np.testing.assert_array_equal(statistics.holm_p, found_alone[task].holm_p)
    for part in ("answers", "behaviour", "statistics"):
        assert getattr(both, part).keys() == getattr(alone, part).keys()
