"""The folders, files and globs that a user names."""

import pytest
from helpers.support import make_record

from kdbench.board.sources import opened
from kdbench.errors import UsageError
from kdbench.results.records import RecordStore


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two results folders, a folder of notes and a file, below ``runs/`` of the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        RecordStore(tmp_path / "runs" / name).put(make_record(name))
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "todo.txt").write_text("buy milk")
    return tmp_path / "runs"


def rows(*places):
    with opened(places, "--from") as source:
        return sorted(record.strategy.label for record in source.records), source.unreadable


def test_what_a_glob_leads_to_is_joined_and_what_holds_no_records_is_named(runs):
    labels, unreadable = rows("runs/*")
    assert labels == ["one", "two"]
    assert unreadable == (
        "skipped runs/notes: neither a results folder nor a board's",
        "skipped runs/todo.txt: neither a results folder nor a board's",
    )


def test_a_folder_that_two_patterns_lead_to_counts_once(runs):
    assert rows("runs/one", "runs/o*", str(runs / "one")) == (["one"], ())


def test_a_folder_whose_name_looks_like_a_glob_is_meant_itself(runs):
    RecordStore(runs / "lr[1]").put(make_record("three"))
    RecordStore(runs / "lr1").put(make_record("four"))
    assert rows("runs/lr[1]") == (["three"], ())


def test_an_unreadable_folder_spoils_a_glob_no_more_than_itself(runs):
    (runs / "broken" / "records").mkdir(parents=True)
    (runs / "broken" / "records" / "junk.json").write_text("{")
    labels, unreadable = rows("runs/[bo]*")
    assert labels == ["one"]
    assert unreadable[0].startswith(
        "skipped: runs/broken holds no record that can be read; skipped runs/broken/"
    )


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("runs/three", "--from: there is no runs/three; name a results folder"),
        ("runs/notes", r"--from: runs/notes holds neither records/ nor records\.jsonl"),
        ("elsewhere/*", r"--from elsewhere/\*: no file or folder matches"),
        ("runs/n*", r"--from runs/n\*: no records there \(skipped runs/notes"),
    ],
)
def test_what_is_not_there_is_told(runs, place, told):
    with pytest.raises(UsageError, match=told):
        rows(place)
