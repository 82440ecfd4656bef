"""The rows of whatever a ``[tasks.NAME]`` table points to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kdbench.api.task import Opened, TaskKind
from kdbench.config import TaskTable
from kdbench.data.conll import read_conll
from kdbench.data.delimited import read_delimited
from kdbench.data.hub import read_hub
from kdbench.data.jsonl import read_jsonl
from kdbench.data.parquet import read_parquet
from kdbench.errors import UsageError

Rows = Iterator[tuple[str, dict[str, Any]]]
"""Places, as error messages name them, and values by column."""

_DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_JSON_LINES = {".jsonl", ".ndjson", ".json"}
_COLUMN_FILES = {".conll", ".bio", ".iob", ".iob2", ".txt", ".train", ".dev", ".test"}
_PACKED = {".gz", ".bz2"}


def file_rows(path: Path, table: TaskTable) -> Rows:
    """Return the rows of a file, read as its ending says.

    Raises:
        UsageError: the ending is not known, or the file is not what it says; names the remedy.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in _PACKED]
    suffix = suffixes[-1] if suffixes else ""
    columns = wanted_columns(table)
    tokens = table.kind is TaskKind.TOKEN_CLASSIFICATION
    if suffix in _JSON_LINES:
        return read_jsonl(path, columns)
    if suffix == ".parquet":
        return read_parquet(path, columns)
    if suffix in _COLUMN_FILES and tokens:
        return _column_rows(path, table)
    if suffix in _DELIMITERS and not tokens:
        return read_delimited(
            path, columns, delimiter=table.delimiter or _DELIMITERS[suffix], quoted=table.quotes
        )
    known = [".jsonl", ".parquet", *([".conll"] if tokens else [".csv", ".tsv"])]
    raise UsageError(
        f"{path}: a {table.kind} task is read from {', '.join(known)} files; convert it, or rename it"
    )


def hub_rows(opened: Opened, split: str, table: TaskTable) -> Rows:
    """Return the rows of one split of a hub data set."""
    return read_hub(opened, split, wanted_columns(table))


def wanted_columns(table: TaskTable) -> tuple[str, ...]:
    """Return the columns that `table` reads."""
    group = (table.group,) if table.group else ()
    return (*table.text_columns, table.label_column, *group)


def _column_rows(path: Path, table: TaskTable) -> Rows:
    word, tag = table.text or 0, table.label if table.label != "" else -1
    if not isinstance(word, int) or not isinstance(tag, int):
        raise UsageError(f"{path} has no names of columns; give text and label as numbers, counted from 0")
    if table.group:
        raise UsageError(f"{path} has no column for a group; use JSON Lines, or leave group out")
    for where, words, tags in read_conll(path, word=word, tag=tag):
        yield where, {table.text_columns[0]: words, table.label_column: tags}
