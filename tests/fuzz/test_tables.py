"""An odd data file is refused in one line that names the place, or read as the csv and json modules read it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from fuzz.judge import fuzz, taken
from fuzz.mutate import damaged, odd_json
from hypothesis import given
from hypothesis import strategies as st

from kdbench.api.task import Opened
from kdbench.config import TaskTable
from kdbench.data.readers import read_delimited, read_jsonl
from kdbench.data.user_tasks import UserTask

CSV = [
    b'text,label,group\nfine,yes,a\n"so, so",no,b\n"two\nlines and ""quotes""",yes,c\n',
    "\ufefflabel,text\r\nyes,schön\r\n\r\nno,\r\n".encode(),
    b"text;label\nfine;1\nbad;0\n",
]
TSV = [b'text\tlabel\tgroup\nfine\tyes\ta\n"quoted\tno\tb\n', "label\ttext\r\nyes\tschön\r\n".encode()]
JSON_ROWS = [
    '{"text": "fine", "label": "yes", "group": 1}',
    '{"label": 0.5, "text": "schön \\ud83d\\ude00", "more": [1, null]}',
    '{"text": ["two", "words"], "label": ["O", "B-PER"]}',
]
_MORE = b'{"text": "bad", "label": "no"}\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for one file after the other."""
    return tmp_path_factory.mktemp("tables")


def packed(path: Path, content: bytes) -> Path:
    """Write `content` to `path`, compressed at times."""
    is_packed = len(content) % 5 == 0
    path = path.with_name(f"{path.name}.gz") if is_packed else path
    path.write_bytes(gzip.compress(content, 1) if is_packed else content)
    return path


@fuzz(1000)
@given(content=damaged(CSV), delimiter=st.sampled_from(",,,;\t|"))
def test_odd_csv(folder: Path, content: bytes, delimiter: str) -> None:
    path = packed(folder / "a.csv", content)
    rows, problem = taken(lambda: list(read_delimited(path, ["text", "label"], delimiter=delimiter)), path)
    if problem is None:
        text = io.StringIO(content.decode("utf-8-sig"), newline="")
        header, *others = (row for row in csv.reader(text, delimiter=delimiter) if row)
        assert [list(row) for _, row in rows] == [header] * len(others)
        assert [list(row.values()) for _, row in rows] == others


@fuzz(600)
@given(content=damaged(TSV))
def test_odd_tsv(folder: Path, content: bytes) -> None:
    path = packed(folder / "a.tsv", content)
    read = lambda: list(read_delimited(path, ["text", "label"], delimiter="\t", quoted=False))  # noqa: E731
    rows, problem = taken(read, path)
    if problem is None:
        lines = [line.rstrip("\r") for line in content.decode("utf-8-sig").split("\n")]
        header, *others = (line.split("\t") for line in lines if line)
        assert [row for _, row in rows] == [dict(zip(header, values, strict=True)) for values in others]


@fuzz(1000)
@given(
    content=st.one_of(
        damaged([f"{JSON_ROWS[0]}\n{JSON_ROWS[1]}\n".encode(), _MORE * 3]),
        odd_json(JSON_ROWS).map(lambda row: row.encode("utf-8", "surrogatepass") + b"\n" + _MORE),
    )
)
def test_odd_json_lines(folder: Path, content: bytes) -> None:
    path = packed(folder / "a.jsonl", content)
    rows, problem = taken(lambda: list(read_jsonl(path, ["text", "label"])), path)
    if problem is None:
        lines = content.decode("utf-8-sig").split("\n")
        assert repr([row for _, row in rows]) == repr([json.loads(line) for line in lines if line.strip()])


_KINDS = st.sampled_from(
    ["sequence-classification", "sequence-regression", "token-classification", "multi-label-classification"]
)


@fuzz(800)
@given(
    rows=st.lists(odd_json(JSON_ROWS, most=2), min_size=1, max_size=6),
    kind=_KINDS,
    more=st.sampled_from([{}, {"group": "group"}]),
    names=st.sampled_from([[], ["no", "yes"]]),
)
def test_the_examples_of_odd_rows(
    folder: Path, rows: list[str], kind: str, more: dict[str, str], names: list[str]
) -> None:
    """Whatever the rows hold, the examples are texts and answers that every later step can take."""
    path = folder / "a.jsonl"
    path.write_bytes("\n".join(rows).encode("utf-8", "surrogatepass"))
    labels = names if kind != "sequence-regression" else []
    table = TaskTable(kind=kind, train=path.name, text="text", label="label", labels=labels, **more)
    task = UserTask("mine", table, folder, folder / "cache")

    def examples() -> list[dict[str, Any]]:
        splits = task.load(Opened("local", files={"train": path}))
        return [example for split in splits.values() for example in split]

    found, problem = taken(examples)
    if problem is not None:
        return
    given = [json.loads(row) for row in rows]
    assert len(found) == len(given)
    for example in found:
        json.dumps(example).encode()
        assert not isinstance(example.get("label"), float) or math.isfinite(example["label"])
