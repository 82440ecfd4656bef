"""Pictures drawn in another process."""

import sys

import pytest
from drawn_board import load, make_results

from kdbench.board.pictures.all import draw, planned
from kdbench.board.pictures.beside import Beside, shares
from kdbench.workers import usable_cores


@pytest.fixture
def pictures(tmp_path):
    make_results(tmp_path)
    return [picture for picture in planned(*load(tmp_path)) if picture.name in ("gap-reviews", "ranks")]


def test_another_process_draws_the_same_bytes_wherever_it_starts(pictures, tmp_path, monkeypatch):
    (tmp_path / "pickle.py").write_text("raise SystemExit('a file of the user, of no concern to a board')")
    monkeypatch.chdir(tmp_path)
    with Beside(pictures) as beside:
        assert beside._process.wait(60) == 0
        assert beside.files() == draw(pictures)


@pytest.mark.parametrize("python", ["", "/bin/false", "/bin/echo", "/no/such/python"])
def test_what_no_other_process_draws_is_drawn_here(pictures, python, monkeypatch):
    monkeypatch.setattr(sys, "executable", python)
    with Beside(pictures[-1:]) as beside:
        assert set(beside.files()) == {"pictures/ranks.svg", "pictures/ranks.png"}


def test_a_process_ends_with_the_block(pictures):
    with pytest.raises(KeyboardInterrupt), Beside(pictures) as beside:
        raise KeyboardInterrupt
    assert beside._process.returncode is not None


def test_few_pictures_are_no_reason_for_another_process(pictures):
    assert shares(pictures) == (pictures, ())
    many = pictures * 30
    here, there = shares(many)
    assert [*here, *there] == many
    assert bool(there) == (usable_cores() > 1)
