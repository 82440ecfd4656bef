import bz2
import gzip
import os
import zipfile

import pytest

from kdbench.data.readers import read_lines
from kdbench.errors import UsageError


def lines_of(path):
    return list(read_lines(path))


def test_line_ends_are_kept_and_a_byte_order_mark_is_dropped(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\n\xef\xbb\xbfthree")
    assert lines_of(path) == ["one\r\n", "two\n", "\ufeffthree"]


def test_only_a_line_feed_ends_a_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("a\u2028b\x0bc\x85d\n", encoding="utf-8")
    assert lines_of(path) == ["a\u2028b\x0bc\x85d\n"]


@pytest.mark.parametrize("pack", [gzip, bz2])
def test_packed_files_are_read_whatever_their_name(tmp_path, pack):
    path = tmp_path / "a.csv"
    with pack.open(path, "wb") as file:
        file.write("schön\nzwei\n".encode())
    assert lines_of(path) == ["schön\n", "zwei\n"]


def test_a_cut_off_gzip_file_is_damaged(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(os.urandom(10_000))[:5_000])
    with pytest.raises(UsageError, match=r"a\.csv\.gz"):
        lines_of(path)


def test_a_zip_archive_is_refused_with_a_remedy(tmp_path):
    path = tmp_path / "a.csv"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inside.csv", "text,label\n")
    with pytest.raises(UsageError, match=r"a\.csv is a zip archive or a spreadsheet; unpack it"):
        lines_of(path)


def test_a_byte_that_is_not_utf8_is_named_with_its_line_and_place(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"fine\nsch" + b"\xf6n\n")
    with pytest.raises(UsageError, match=r"a\.csv, line 2: byte 4 \(0xf6\) is not UTF-8"):
        lines_of(path)


def test_utf16_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\n".encode("utf-16"))
    with pytest.raises(UsageError, match=r"line 1: byte 1 .* save the file as UTF-8"):
        lines_of(path)


def test_a_nul_byte_is_named_with_its_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"a\nb\0c\n")
    with pytest.raises(UsageError, match="line 2: a NUL byte"):
        lines_of(path)


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.touch()
    with pytest.raises(UsageError, match=r"a\.csv is empty"):
        lines_of(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"none\.csv does not exist"):
        lines_of(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="is a folder; name a file in it"):
        lines_of(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text\n")
    path.chmod(0)
    with pytest.raises(UsageError, match="is not readable by this user"):
        lines_of(path)


def test_a_line_of_50_megabytes_is_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 50_000_000 + b"\nshort\n")
    assert [len(line) for line in read_lines(path)] == [50_000_001, 6]
