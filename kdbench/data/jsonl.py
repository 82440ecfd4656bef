"""Rows of JSON Lines files."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from kdbench.data.lines import read_lines
from kdbench.errors import UsageError


def read_jsonl(path: Path, columns: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place (``train.jsonl, line 2``) and the values by name of each object; blank lines are passed over.

    Args:
        path: the file; UTF-8, one object a line.
        columns: the names that every object must have.

    Raises:
        UsageError: names the file, the line, what is wrong there and the remedy.
    """
    empty = True
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            yield f"{path}, line {number}", _row(f"{path}, line {number}", line, columns)
            empty = False
    if empty:
        raise UsageError(f"{path} holds blank lines only; write one JSON object a line")


def _row(where: str, line: str, columns: Collection[str]) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not JSON ({error}); write one object a line") from error
    if not isinstance(row, dict):
        raise UsageError(
            f"{where}: not an object but {type(row).__name__}; write one object a line, without a list around"
        )
    for name in columns:
        if name not in row:
            raise UsageError(f"{where}: no {name!r}, only {', '.join(map(repr, row))}; complete the object")
    return row
