"""A stranger's folder is read where it lies: nothing outside of it is read or written."""

import json
import os

import pytest
from helpers.support import make_record, save_predictions

from kdbench.board.sources import LARGEST_PREDICTIONS_BYTES, opened
from kdbench.results.paths import RECORDS_FILE, CellFiles
from kdbench.results.records import RecordStore, Status
from kdbench.utils.plain_files import read_end


@pytest.fixture
def place(tmp_path):
    """A folder with one failed cell and a secret beside it."""
    record = make_record("a", status=Status.FAILED, reason="it broke")
    RecordStore(tmp_path / "theirs").put(record)
    (tmp_path / "secret").write_text("the secret\n")
    return tmp_path / "theirs", record


@pytest.mark.parametrize("key", ["x/../../../victim/app", "/victim/app", "0" * 19, "A" * 20, "0" * 20 + "\n"])
def test_a_key_that_is_none_is_no_record(tmp_path, key):
    data = json.loads(make_record("a").model_dump_json())
    good = make_record("b").model_dump_json()
    (tmp_path / RECORDS_FILE).write_text(f"{json.dumps({**data, 'key': key})}\n{good}\n")
    with opened([str(tmp_path)], "--from") as source:
        assert [record.strategy.name for record in source.records] == ["b"]
    assert "line 1: no record of schema 1 (key: " in source.unreadable[0]


@pytest.mark.parametrize("kind", ["log", "predictions", "noisy_predictions"])
def test_a_link_out_of_the_folder_is_named_and_not_followed(place, kind):
    folder, record = place
    path = getattr(CellFiles(folder, record.key), kind)
    path.parent.mkdir()
    path.symlink_to(folder.parent / "secret")
    with opened([str(folder)], "--from") as source:
        assert not getattr(CellFiles(source.root, record.key), kind).exists()
        assert source.unreadable == (f"skipped {path}: is a link out of the folder and was not followed",)


def test_a_record_that_is_a_link_out_of_the_folder_is_not_read(place, tmp_path):
    folder, record = place
    other = make_record("b")
    RecordStore(tmp_path / "mine").put(other)
    RecordStore(folder).path(other.key).symlink_to(RecordStore(tmp_path / "mine").path(other.key))
    with opened([str(folder)], "--from") as source:
        assert source.records == (record,)
        assert "is a link out of the folder" in source.unreadable[0]


def test_what_is_no_plain_file_of_a_bounded_size_is_named_and_not_opened(place):
    folder, record = place
    files = CellFiles(folder, record.key)
    os.mkfifo(folder / "records" / "pipe.json")
    (folder / "records" / "huge.json").touch()
    os.truncate(folder / "records" / "huge.json", 6 << 30)  # sparse: it takes no room
    save_predictions(folder, record.key, [True])
    os.truncate(files.predictions, LARGEST_PREDICTIONS_BYTES + 1)
    files.log.parent.mkdir()
    os.mkfifo(files.log)
    with opened([str(folder)], "--from") as source:
        assert source.records == (record,)
    told = "\n".join(source.unreadable)
    assert "huge.json: cannot be read (has 6,442,450,944 bytes, more than the limit of 4,194,304)" in told
    assert "pipe.json: cannot be read (is not a regular file)" in told
    assert f"{files.predictions}: has 67,108,865 bytes" in told
    assert f"{files.log}: is not a regular file" in told


def test_of_a_long_log_the_end_is_read(tmp_path):
    (tmp_path / "long.log").write_text("".join(f"{number}\n" for number in range(100_000)))
    assert read_end(tmp_path / "long.log", 12) == b"99998\n99999\n"
