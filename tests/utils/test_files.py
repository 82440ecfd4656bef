"""Files that a reader sees whole or not at all."""

import os
import resource
import signal
import subprocess
import sys
from textwrap import dedent

import pytest

from kdbench.results.paths import PLACES_OF_FILES
from kdbench.utils.files import (
    folder_atomically,
    folder_bytes,
    is_temporary,
    remove_temporary,
    scratch_folder,
    sha256,
    write_atomically,
)


def names_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_text_and_bytes_are_written_as_they_are_and_missing_folders_made(tmp_path):
    write_atomically(tmp_path / "a" / "text", "ä\r\n")
    write_atomically(tmp_path / "a" / "bytes", b"\x00\xff")
    assert (tmp_path / "a" / "text").read_bytes() == b"\xc3\xa4\r\n"
    assert (tmp_path / "a" / "bytes").read_bytes() == b"\x00\xff"
    assert names_below(tmp_path) == ["a", "a/bytes", "a/text"]


def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_atomically(path, "new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "old"
    assert names_below(tmp_path) == ["file"]


def test_a_folder_takes_its_place_whole(tmp_path):
    target = tmp_path / "deep" / "target"
    with folder_atomically(target) as partial:
        (partial / "file").write_text("1")
        assert not target.exists()
        assert is_temporary(partial)
    assert names_below(tmp_path) == ["deep", "deep/target", "deep/target/file"]
    with folder_atomically(target) as partial:
        (partial / "other").write_text("2")
    assert names_below(target) == ["other"]


def test_a_folder_whose_filling_fails_leaves_the_old_one_and_nothing_else(tmp_path):
    with folder_atomically(tmp_path / "target") as partial:
        (partial / "file").write_text("1")
    with pytest.raises(ZeroDivisionError), folder_atomically(tmp_path / "target") as partial:
        (partial / "file").write_text(str(1 / 0))
    assert names_below(tmp_path) == ["target", "target/file"]


def test_a_process_killed_while_writing_leaves_only_what_is_recognized_and_removed(tmp_path):
    code = dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from kdbench.utils.files import folder_atomically
        with folder_atomically(Path(sys.argv[1]) / "models" / "cell") as partial:
            (partial / "weights").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (rest,) = (tmp_path / "models").iterdir()
    assert is_temporary(rest)
    write_atomically(tmp_path / "models" / "other", "whole")
    remove_temporary(tmp_path, *PLACES_OF_FILES)
    assert names_below(tmp_path) == ["models", "models/other"]


def test_a_scratch_folder_vanishes_and_counts_as_temporary_till_then(tmp_path):
    with scratch_folder(tmp_path / "results") as scratch:
        (scratch / "file").write_text("1")
        assert scratch.parent == tmp_path / "results"
        assert is_temporary(scratch)
    assert names_below(tmp_path) == ["results"]


def test_the_rests_of_one_file_alone_can_be_removed(tmp_path):
    for name in ("mine.1.kdbench-partial", "mine.22.kdbench-partial", "other.1.kdbench-partial"):
        (tmp_path / name).mkdir()
    remove_temporary(tmp_path, "mine*")
    assert names_below(tmp_path) == ["other.1.kdbench-partial"]


def test_files_of_the_user_stay(tmp_path):
    mine = ("thesis.partial", "download.123.partial", "records/a.1.partial", "mine/a.json.1.kdbench-partial")
    for name in mine:
        write_atomically(tmp_path / name, "mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "records" / "a.json.7.kdbench-partial").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "teachers" / "a" / "logits.7.kdbench-partial").mkdir(parents=True)
    remove_temporary(tmp_path, *PLACES_OF_FILES)
    assert names_below(tmp_path) == sorted({*mine, "records", "mine", "elsewhere", "teachers", "teachers/a"})


def test_only_what_writing_left_counts_as_temporary(tmp_path):
    assert is_temporary(tmp_path / f"record.json.{os.getpid()}.kdbench-partial")
    assert not is_temporary(tmp_path / "record.json")
    assert not is_temporary(tmp_path / "partial")


def test_the_hash_is_the_published_one(tmp_path):
    # FIPS 180-4's examples: the empty message, and a million times the letter a.
    (tmp_path / "empty").touch()
    (tmp_path / "long").write_bytes(b"a" * 1_000_000)
    assert sha256(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sha256(tmp_path / "long") == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"


def test_the_bytes_of_a_folder_are_those_of_all_its_files(tmp_path):
    write_atomically(tmp_path / "a", "12345")
    write_atomically(tmp_path / "deep" / "b", "678")
    assert folder_bytes(tmp_path) == 8
