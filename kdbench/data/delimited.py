"""Rows of CSV and TSV files."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from kdbench.data.lines import read_lines
from kdbench.errors import UsageError


def read_delimited(
    path: Path,
    columns: Collection[str],
    *,
    delimiter: str = ",",
    quoted: bool = True,
    names: Sequence[str] | None = None,
    skip_short: bool = False,
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the place (``train.csv, line 2``) and the values by column of each row; blank lines are passed over.

    Args:
        path: the file; UTF-8, either kind of line end.
        columns: the columns that must be there.
        delimiter: what stands between values.
        quoted: whether ``"`` quotes values, as in CSV; in the GLUE corpora it is a character like any other.
        names: the columns' names where the file has no header.
        skip_short: pass over rows with too few values, as a corpus with known broken lines asks for.

    Raises:
        UsageError: names the file, the line, what is wrong there and the remedy.
    """
    records = _quoted(path, delimiter) if quoted else _plain(path, delimiter)
    header = list(names) if names is not None else next(records, (1, []))[1]
    _check_header(path, header, columns, delimiter)
    line = 0
    for line, values in records:
        if len(values) != len(header):
            if skip_short and len(values) < len(header):
                continue
            raise UsageError(_ragged(path, line, len(values), len(header), delimiter, quoted))
        yield f"{path}, line {line}", dict(zip(header, values, strict=True))
    if line == 0:
        raise UsageError(f"{path} has a header but no rows; add some")


def _plain(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(read_lines(path), 1):
        text = line.rstrip("\r\n")
        if text:
            yield number, text.split(delimiter)


def _quoted(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    rows = csv.reader(read_lines(path), delimiter=delimiter, strict=True)
    while True:
        start = rows.line_num + 1
        try:
            values = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise UsageError(
                f"{path}, line {start}: {error}; check the quotes of the row that begins here "
                "(a quote inside a quoted value is written twice)"
            ) from error
        if values:
            yield start, values


def _check_header(path: Path, header: list[str], columns: Collection[str], delimiter: str) -> None:
    for name in columns:
        if name not in header:
            hint = "" if len(header) > 1 else f" (is {delimiter!r} the right delimiter?)"
            raise UsageError(f"{path} has no column {name!r}, only {', '.join(map(repr, header))}{hint}")
        if header.count(name) > 1:
            raise UsageError(f"{path} has more than one column {name!r}; rename all but one")


def _ragged(path: Path, line: int, found: int, expected: int, delimiter: str, quoted: bool) -> str:
    remedy = f"quote values that hold {delimiter!r}" if quoted else f"remove {delimiter!r} from the values"
    return f"{path}, line {line}: {found} values where {expected} columns are; {remedy}, or complete the row"
