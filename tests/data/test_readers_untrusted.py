"""A file that would fill the memory or never end is refused in one line."""

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdbench.config import TaskTable
from kdbench.data import readers
from kdbench.data.readers import read_delimited, read_lines, read_parquet
from kdbench.data.user_tasks import UserTask
from kdbench.errors import UsageError


def test_a_packed_line_without_end_is_not_unpacked_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "_MAX_LINE", 16 << 20)
    path = tmp_path / "a.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(20):
            file.write(bytes(b"a" * (1 << 20)))
    with pytest.raises(UsageError, match=r"a\.csv\.gz, line 1 has more than 16,777,216 bytes"):
        list(read_lines(path))


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
@pytest.mark.parametrize("special", ["device", "pipe"])
def test_a_pipe_and_a_device_are_not_opened(tmp_path, name, special):
    path = tmp_path / name
    if special == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    task = UserTask("mine", TaskTable(train=name, text="text", label="label"), tmp_path, tmp_path / "cache")
    with pytest.raises(UsageError, match="cannot be read: is not a regular file"):
        _ = task.labels
    with pytest.raises(UsageError, match="is not a regular file"):
        list(read_parquet(path, ["text"]) if name == "a.parquet" else read_delimited(path, ["text"]))


def test_a_parquet_file_of_countless_rows_is_refused_before_it_is_read(tmp_path, monkeypatch):
    pq.write_table(pa.table({"text": ["a"] * 11}), tmp_path / "a.parquet")
    monkeypatch.setattr(readers, "_MOST_ROWS", 10)
    with pytest.raises(UsageError, match="has 11 rows, more than the limit of 10"):
        list(read_parquet(tmp_path / "a.parquet", ["text"]))


def test_a_parquet_file_whose_names_are_no_text_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"textual": ["a"]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"textual", b"tex\xff\xfeal"))
    with pytest.raises(UsageError, match=r"a\.parquet (is not a Parquet file|has no column)"):
        list(read_parquet(path, ["text"]))


@pytest.mark.parametrize("label", [10**400, "1e400", "NaN"])
def test_a_label_that_is_no_finite_number_is_refused(tmp_path, label):
    rows = [{"text": "a", "label": 1.0}, {"text": "b", "label": label}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = TaskTable(train="a.jsonl", kind="sequence-regression", text="text", label="label")
    task = UserTask("mine", table, tmp_path, Path("cache"))
    with pytest.raises(UsageError, match=r"(line|example) 2: the label .{1,120} not a") as refused:
        task._held_out()
    assert len(str(refused.value)) < 400


def test_a_long_text_is_no_fault_of_its_file(tmp_path):
    (tmp_path / "a.csv").write_text(f"text\n{'word ' * 60_000}\n")
    ((_, row),) = read_delimited(tmp_path / "a.csv", ["text"])
    assert len(row["text"]) == 300_000
