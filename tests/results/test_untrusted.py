"""What nobody can have measured is no record and no timing, and is skipped in one line."""

import json

import pytest
from helpers.support import make_record, make_timing

from kdbench.board.load import load_cells
from kdbench.board.sources import opened
from kdbench.results.paths import RECORDS_FILE
from kdbench.results.records import LearningCurve, Record, RecordStore
from kdbench.results.timings import Timing
from kdbench.utils.files import parse_json

CURVE = LearningCurve(steps=(1,), losses=(0.5,))


def record(*path, value):
    return _changed(make_record(curves=(CURVE,)), path, value)


def timing(*path, value):
    return _changed(make_timing({make_record().key: 5.0}), path, value)


def _changed(made, path, value):
    data = json.loads(made.model_dump_json())
    place = data
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return type(made), json.dumps(data).replace('"BIG"', "1e999")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (record("finished_at", value="2026-11-03T12:00:00"), "finished_at: Input should have timezone info"),
        (record("finished_at", value="0001-01-01T00:00:00+14:00"), "finished_at: "),
        (record("curves", 0, "steps", value=[]), "curves.0.steps: "),
        (record("curves", 0, "losses", value=[1.0, 2.0]), "losses and steps"),
        (record("budget", "batch_size", "sequence-classification", value=0), "budget.batch_size.sequence-"),
        (record("quality", "score", value=1e308), "the number 1e+308 is larger than any that is measured"),
        (record("quality", "score", value="BIG"), "quality.score: "),
        (record("size", "total_parameters", value=2**63), "the number 9223372036854775808 is larger"),
        (record("strategy", "params", value={"a": 10**4000}), "the number 1000000000"),
        (record("strategy", "params", value={"a": float("nan")}), "a number is NaN"),
        (record("strategy", "params", value={"a": float("-inf")}), "the number -Infinity is larger"),
        (record("size", "total_parameters", value=str(2**63)), "size.total_parameters: "),  # a number as text
        (record("\ufeff\x1b[31m", value=1), "(\ufffd\ufffd[31m: Extra inputs"),
        (record("x" * 5000, value=1), "x\N{HORIZONTAL ELLIPSIS}"),
        (
            record("quality", "metrics", value={"accuracy<img src=x onerror=alert(1)>": 0.5}),
            "quality.metrics",
        ),
        (record("task", "title", value="\ud800"), "Invalid JSON"),
        (timing("models", 0, "back_ends", value=[]), "models.0.back_ends: "),
        (timing("models", 0, "back_ends", 0, "points", value=[]), "its first back end has no points"),
        (timing("models", 0, "back_ends", 0, "points", 0, "batch_size", value=0), "batch_size: "),
        (timing("models", 0, "key", value="../../x"), "models.0.key: "),
    ],
)
def test_a_hostile_value_is_told_in_one_line(content, told):
    kind, text = content
    item, problem = parse_json(kind, text.encode())
    assert item is None
    assert told in problem
    assert "\n" not in problem
    assert len(problem) < 300


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 100_000, "recursion limit"),
        ('{"a": 1}' + " " * Record.largest_bytes, "more than the limit of 4,194,304"),
        (
            make_record().model_dump_json().replace('"seed":0', '"seed":0,"seed":1'),
            "has the key 'seed' twice",
        ),
    ],
)
def test_what_readers_understand_differently_is_no_record(text, told):
    assert told in parse_json(Record, text.encode())[1]
    assert Timing.largest_bytes > Record.largest_bytes


def test_one_hostile_record_costs_no_other(tmp_path):
    bad = [text for _, text in (record("seed", value=2**63), record("finished_at", value="2026-11-03T12:00"))]
    lines = [bad[0], make_record("a").model_dump_json(), bad[1], make_record("b").model_dump_json()]
    (tmp_path / RECORDS_FILE).write_text("\n".join(lines))
    with opened([str(tmp_path)], "--from") as source:
        assert [one.strategy.name for one in source.records] == ["a", "b"]
    assert [line.split(": ")[0].split(", ")[1] for line in source.unreadable] == ["line 1", "line 3"]


def test_of_two_spellings_of_a_task_s_name_the_newest_is_shown(tmp_path):
    RecordStore(tmp_path).put(make_record("a", task="reviews", minutes=1))
    RecordStore(tmp_path).put(make_record("b", task="Reviews"))
    loaded = load_cells(tmp_path, budget="quick")
    assert list(loaded.cells["strategy"]) == ["a"]
    assert "its task's name is another spelling of reviews" in loaded.left_out[0]


@pytest.mark.parametrize("name", ["README", "cells", "Overview", "x" * 300])
def test_a_task_s_name_is_no_other_file_s(tmp_path, name):
    RecordStore(tmp_path).put(make_record("a"))
    RecordStore(tmp_path).put(make_record("b", task=name))
    loaded = load_cells(tmp_path, budget="quick")
    assert list(loaded.cells["strategy"]) == ["a"]
    assert "that of a board's file" in loaded.left_out[0]
