import json
import os
from datetime import datetime, timedelta, timezone

import pytest
from helpers.drawn_board import drawn_content, make_results

from kdbench.live.follow import ROWS, Follow, Place
from kdbench.live.recorder import Ending, LiveCell, LiveState, state_path, write_state
from kdbench.render.write import write_board

NOW = datetime.now(timezone.utc)


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    make_results(folder)
    return folder


@pytest.fixture
def board(results, tmp_path):
    write_board(results, tmp_path / "board", budget="quick")
    return tmp_path / "board"


@pytest.fixture
def make_follow(results, tmp_path):
    def make(board=None, since=None):
        return Follow(
            Place(
                results=results,
                board=board,
                default_board=tmp_path / "board",
                budget="quick",
                model=None,
                since=since,
            )
        )

    return make


def leave_word(results, board="elsewhere", **changed):
    settings = {
        "budget": "quick",
        "model": "all-MiniLM-L6-v2",
        "weights_sha256": "53aa5117" + "0" * 56,
        "board": str(board),
        "started_at": NOW,
        "told_at": NOW,
        "cells": (LiveCell(strategy="lora", task="reviews", seed=0),),
    }
    write_state(results, LiveState(**{**settings, **changed}))


def state_of(follow):
    return json.loads(follow.state())


def content_of(follow):
    return json.loads(follow.content())


def touch(board):
    later = (board / ROWS).stat().st_mtime_ns + 10**9
    os.utime(board / ROWS, ns=(later, later))


def test_the_board_is_the_one_that_the_runs_own_page_would_show(make_follow, results, board):
    expected = json.loads(json.dumps(drawn_content(results)))
    follow = make_follow()
    made = content_of(follow)
    assert made["content"] == expected
    assert made["version"] == state_of(follow)["board"]
    assert made["specification"]["layer"]


def test_statistics_are_read_and_never_computed(make_follow, results, board):
    # The statistics need every row's predictions; without any, only the rows' own answers are missing.
    for path in (results / "predictions").iterdir():
        path.unlink()
    rows = content_of(make_follow())["content"]["rows"]
    ranks = [row["texts"][0] for row in rows if row["strategy"] == "finetune"]
    assert ranks == ["1-4", "1-4"]


def test_the_board_is_that_of_the_run_unless_another_is_named(make_follow, results, board, tmp_path):
    leave_word(results, board=tmp_path / "empty")
    assert state_of(make_follow())["board"] is None
    assert content_of(make_follow())["content"] is None
    assert content_of(make_follow(board))["content"]["rows"]
    leave_word(results, board=board)
    assert content_of(make_follow())["content"]["rows"]


def test_a_row_whose_records_are_gone_is_left_out(make_follow, results, board):
    for path in (results / "records").iterdir():
        if json.loads(path.read_text())["task"]["name"] == "tweets":
            path.unlink()
    assert {row["task"] for row in content_of(make_follow())["content"]["rows"]} == {"reviews"}


def test_a_new_board_waits_until_it_costs_little_but_not_beyond_the_runs_end(make_follow, results, board):
    leave_word(results, board)
    follow = make_follow()
    first = content_of(follow)["version"]
    touch(board)
    assert state_of(follow)["board"] == first  # it was made a moment ago: no new one is offered yet
    assert content_of(follow)["version"] == first
    leave_word(results, board, ending=Ending.DONE)
    offered = state_of(follow)["board"]
    assert offered != first
    assert content_of(follow)["version"] == offered


def test_what_a_run_before_left_is_not_told_of_one_that_has_not_begun(make_follow, results):
    leave_word(results, started_at=NOW - timedelta(hours=1))
    told = state_of(make_follow(since=NOW))
    assert (told["run"], told["expected"]) == (None, True)
    told = state_of(make_follow())
    assert told["run"]["cells"][0]["strategy"] == "lora"
    assert told["expected"] is False


def test_it_tells_for_how_long_nothing_was_heard(make_follow, results):
    leave_word(results, told_at=datetime.now(timezone.utc) - timedelta(minutes=2))
    assert 120 <= state_of(make_follow())["silent_s"] < 130


def test_what_cannot_be_read_is_told_in_a_line_and_ends_nothing(make_follow, results, board):
    state_path(results).write_text("no JSON")
    follow = make_follow()
    assert "no livestate of schema 1" in state_of(follow)["problem"]
    (board / ROWS).write_text("no table")
    made = content_of(follow)
    assert made["content"] is None
    assert made["problem"]


def test_who_is_not_looked_at_does_not_wait(make_follow, results):
    leave_word(results)
    started = datetime.now(timezone.utc)
    make_follow().wait_for_readers()
    assert datetime.now(timezone.utc) - started < timedelta(seconds=0.5)
