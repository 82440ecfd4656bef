"""Read examples from files: delimited text, JSON Lines, Parquet and CoNLL; each error names the line and the remedy."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import re
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from kdbench.data.encoding import BATCH
from kdbench.data.hub import class_names, read_hub, with_class_names
from kdbench.data.remarks import remark
from kdbench.data.tagging import Scheme, TagError, detect_scheme, iob2_labels, to_iob2
from kdbench.errors import UsageError, one_line
from kdbench.utils.plain_files import plain_file

_BYTE_ORDER_MARK = "\ufeff"
_MAGIC_BYTES = 4
_MAX_LINE = 256 << 20
"""Bytes: a packed file of a few kB may unpack to a line that fills the memory."""
_MOST_ROWS = 50_000_000
"""A Parquet file of a few MB may have more rows than can be read in a day."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Convert operating-system errors on reading `path` into a `UsageError`.

    Raises:
        UsageError: the file is missing, a folder, not readable, or damaged.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist; correct the path") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder; name a file in it") from error
    except PermissionError as error:
        raise UsageError(f"{path} is not readable by this user; change its permissions") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"{path} is a damaged archive ({error}); fetch or pack it again") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file with their line ends; gzip and bzip2 are decompressed, a byte-order mark is dropped.

    Raises:
        UsageError: the file is empty, cannot be read, is an archive of files, or contains bytes that are not text.
    """
    with readable(path), _open(path) as file:
        number = 0
        for number, raw in enumerate(iter(partial(file.readline, _MAX_LINE + 1), b""), 1):
            if len(raw) > _MAX_LINE:
                raise UsageError(
                    f"{path}, line {number} has more than {_MAX_LINE:,} bytes; is each example on a line of its own?"
                )
            line = _decode(path, number, raw)
            if number == 1 and not line.endswith("\n") and "\r" in line.rstrip("\r"):
                raise UsageError(
                    f"{path} has the line ends of old Macs (CR); save it with those of Unix (LF)"
                )
            yield line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
    if number == 0:
        raise UsageError(f"{path} is empty; it needs rows")


def _open(path: Path) -> IO[bytes]:
    with plain_file(path).open("rb") as file:
        start = file.read(_MAGIC_BYTES)
    if start.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.open(path))
    if start.startswith(b"BZh"):
        return cast("IO[bytes]", bz2.open(path))
    if start == b"PK\x03\x04":
        raise UsageError(f"{path} is a zip archive or a spreadsheet; unpack it, or save it as CSV")
    return path.open("rb")


def _decode(path: Path, number: int, raw: bytes) -> str:
    try:
        line = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path}, line {number}: byte {error.start + 1} (0x{raw[error.start]:02x}) is not UTF-8; "
            "save the file as UTF-8"
        ) from error
    if "\0" in line:
        raise UsageError(f"{path}, line {number}: a NUL byte; save the file as UTF-8 text")
    return line


def read_delimited(
    path: Path,
    columns: Collection[str],
    *,
    delimiter: str = ",",
    quoted: bool = True,
    names: Sequence[str] | None = None,
    skip_short: bool = False,
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each row's location (``train.csv, line 2``) and its values by column; blank lines are skipped.

    Args:
        path: the file; UTF-8, with either kind of line end.
        columns: the columns that must exist.
        delimiter: the separator of values.
        quoted: whether ``"`` quotes values, as in CSV; in the GLUE corpora it is an ordinary character.
        names: the column names, if the file has no header.
        skip_short: skip rows with too few values, for corpora with known broken lines.

    Raises:
        UsageError: the file is malformed; names the file, the line, the fault and the remedy.
    """
    records = _quoted_rows(path, delimiter) if quoted else _plain_rows(path, delimiter)
    header = list(names) if names is not None else next(records, (1, []))[1]
    _check_header(path, header, columns, delimiter)
    line = 0
    for line, values in records:
        if len(values) != len(header):
            if skip_short and len(values) < len(header):
                continue
            raise UsageError(_wrong_width(path, line, len(values), len(header), delimiter, quoted))
        yield f"{path}, line {line}", dict(zip(header, values, strict=True))
    if line == 0:
        raise UsageError(f"{path} has a header but no rows; add some")


def _plain_rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(read_lines(path), 1):
        text = line.rstrip("\r\n")
        if text:
            yield number, text.split(delimiter)


def _quoted_rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(_MAX_LINE)
    rows = csv.reader(read_lines(path), delimiter=delimiter, strict=True)
    width = first = swallowed = 0
    while True:
        start = rows.line_num + 1
        try:
            values = next(rows)
        except StopIteration:
            break
        except csv.Error as error:
            raise UsageError(
                f"{path}, line {start}: {error}; check the quotes of the row that begins here (a quote inside a quoted "
                f"value is written twice), or {_PLAIN_QUOTES}"
            ) from error
        width = width or len(values)
        if rows.line_num > start and any(_swallows_rows(value, delimiter, width) for value in values):
            first = first or start
            swallowed += rows.line_num - start
        if values:
            yield start, values
    if swallowed:
        remark(
            f"{path}, line {first}: a quote opens here and closes lines later, so that {swallowed} lines of the file that look "
            f"like rows are part of a value; check the quotes, or {_PLAIN_QUOTES}"
        )


def _swallows_rows(value: str, delimiter: str, width: int) -> bool:
    """Return whether a quoted value has a line that looks like a row of `width` values.

    In prose of several lines, a comma is followed by a blank or by nothing.
    """
    rows = (line.split(delimiter) for line in value.split("\n"))
    return width > 1 and any(
        len(cells) == width and all(cell and not cell[0].isspace() for cell in cells) for cells in rows
    )


_PLAIN_QUOTES = "set --no-quotes (quotes = false in a config file) if they are ordinary characters"


def _check_header(path: Path, header: list[str], columns: Collection[str], delimiter: str) -> None:
    for name in columns:
        if name not in header:
            known = ", ".join(map(repr, header))
            hint = _delimiter_hint(header, columns, delimiter)
            raise UsageError(f"{path} has no column {name!r}, only {known}{hint}")
        if header.count(name) > 1:
            raise UsageError(f"{path} has more than one column {name!r}; rename all but one")


_DELIMITERS = (";", ",", "\t", "|")


def _delimiter_hint(header: list[str], columns: Collection[str], delimiter: str) -> str:
    """Return which delimiter the header seems to have; empty if it has the right one."""
    line = delimiter.join(header)
    for other in _DELIMITERS:
        if other != delimiter and set(columns) <= {name.strip('"') for name in line.split(other)}:
            shown = r"\t" if other == "\t" else other
            return f"; its delimiter seems to be {other!r}: set --delimiter '{shown}' (delimiter in a config file)"
    if len(header) > 1:
        return ""
    return f" (is {delimiter!r} the right delimiter? Another one is set by --delimiter, or delimiter in a config file)"


def _wrong_width(path: Path, line: int, values: int, columns: int, delimiter: str, quoted: bool) -> str:
    remedy = f"quote values that contain {delimiter!r}" if quoted else f"remove {delimiter!r} from the values"
    return f"{path}, line {line}: {values} values for {columns} columns; {remedy}, or complete the row"


def read_jsonl(path: Path, columns: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each object's location (``train.jsonl, line 2``) and its values by name; blank lines are skipped.

    The file is UTF-8, with one object per line; each must have a value for all of `columns`.

    Raises:
        UsageError: the file is malformed; names the file, the line, the fault and the remedy.
    """
    empty = True
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            yield f"{path}, line {number}", _row(f"{path}, line {number}", line, columns)
            empty = False
    if empty:
        raise UsageError(f"{path} has only blank lines; write one JSON object per line")


def _row(where: str, line: str, columns: Collection[str]) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not JSON ({error}); write one object per line") from error
    if not isinstance(row, dict):
        raise UsageError(
            f"{where}: not an object but {type(row).__name__}; write one object per line, not inside a list"
        )
    for name in columns:
        if name not in row:
            raise UsageError(f"{where}: no {name!r}, only {', '.join(map(repr, row))}; complete the object")
    return row


def read_parquet(path: Path, columns: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each row's location (``train.parquet, row 2``) and its values of `columns`.

    Raises:
        UsageError: the file cannot be read, lacks a column or has no rows; names the remedy.
    """
    with _opened_parquet(path) as table:
        existing = table.schema_arrow.names
        if table.metadata.num_rows > _MOST_ROWS:
            rows = table.metadata.num_rows
            raise UsageError(f"{path} has {rows:,} rows, more than the limit of {_MOST_ROWS:,}; split it")
        for name in columns:
            if name not in existing:
                raise UsageError(f"{path} has no column {name!r}, only {', '.join(map(repr, existing))}")
            if existing.count(name) > 1:
                raise UsageError(f"{path} has more than one column {name!r}; rename all but one")
        names = _parquet_class_names(path, table.schema_arrow, columns)
        number = 0
        for batch in table.iter_batches(BATCH, columns=list(columns)):
            for row in _python_rows(path, batch, number):
                number += 1
                where = f"{path}, row {number}"
                for name, classes in names.items():
                    row[name] = with_class_names(where, row[name], classes)
                yield where, row
    if number == 0:
        raise UsageError(f"{path} has no rows; add some")


def parquet_columns(path: Path) -> list[str]:
    """Return the names of the columns of a Parquet file.

    Raises:
        UsageError: the file cannot be read.
    """
    with _opened_parquet(path) as table:
        names: list[str] = table.schema_arrow.names
    return names


@contextmanager
def _opened_parquet(path: Path) -> Iterator[Any]:
    """Open a Parquet file for the block, and convert errors on reading it into a `UsageError`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with readable(path), plain_file(path).open("rb") as file:
            yield pq.ParquetFile(file)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise UsageError(f"{path} is not a Parquet file, or is damaged: {reason}; write it again") from error


def _parquet_class_names(path: Path, schema: Any, columns: Collection[str]) -> dict[str, list[str]]:
    """Return the class names that the library datasets has written into a file's metadata, by column."""
    if b"huggingface" not in (schema.metadata or {}):
        return {}
    import datasets

    try:
        features = datasets.Features.from_arrow_schema(schema)
    except (
        Exception
    ) as error:  # metadata of another version, or damaged, which the library reads in many ways
        remark(
            f"{path}: the names of classes in its metadata cannot be read ({one_line(error)}), so that numbers remain"
        )
        return {}
    names = {name: class_names(features[name]) for name in columns if name in features}
    return {name: classes for name, classes in names.items() if classes is not None}


def _python_rows(path: Path, batch: Any, rows_before: int) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
    except (ArithmeticError, LookupError, ValueError) as error:  # a time, above all
        raise UsageError(
            f"{path}, one of {len(batch):,} rows after row {rows_before}: a value cannot be read ({error}); store texts, "
            "numbers and lists of texts"
        ) from error
    return rows


_DOCUMENT = "-DOCSTART-"
_BLANKS = " \t\r\n"
"""Separators of values and lines; other white space, such as a no-break space, can be a word."""
_SPACES = re.compile(" +")


@dataclass
class _Sentence:
    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


def read_conll(path: Path, *, word: int = 0, tag: int = -1) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each sentence's location (``train.conll, line 7``), its words and its IOB2 tags.

    Values are separated by tabs or, in a line without tabs, by spaces; ``-DOCSTART-`` lines are skipped, and before
    a sentence comments (``# text = …``). The file's
    tagging scheme is detected: IOB1, IOB2, BIOES or BILOU.

    Args:
        path: the file; UTF-8, with either kind of line end.
        word: the column of the words, counted from 0.
        tag: the column of the tags, counted from 0, or from the end, where -1 is the last.

    Raises:
        UsageError: the file is malformed; names the file, the line, the fault and the remedy.
    """
    scheme = detect_scheme(sentence.tags for sentence in _sentences(path, word, tag))
    empty = True
    for sentence in _sentences(path, word, tag):
        try:
            tags = to_iob2(sentence.tags, scheme)
        except TagError as error:
            raise UsageError(f"{path}, line {sentence.lines[error.index]}: {error}") from error
        yield f"{path}, line {sentence.lines[0]}", sentence.words, tags
        empty = False
    if empty:
        raise UsageError(f"{path} has no sentences; write one word and its tag per line")


def _values(line: str) -> list[str]:
    return line.rstrip("\r\n").split("\t") if "\t" in line else _SPACES.split(line.strip(_BLANKS))


def _shape(line: str) -> tuple[bool, int]:
    """Return whether tabs separate the values of `line`, and their number."""
    return "\t" in line, len(_values(line))


def _shape_of_rows(path: Path) -> tuple[bool, int] | None:
    rows = (
        line for line in read_lines(path) if line.strip(_BLANKS) and not line.startswith(("#", _DOCUMENT))
    )
    return next(map(_shape, rows), None)


def _sentences(path: Path, word: int, tag: int) -> Iterator[_Sentence]:
    sentence, shape = _Sentence(), _shape_of_rows(path)
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip(_BLANKS):
            if sentence.words:
                yield sentence
                sentence = _Sentence()
            continue
        values = _values(line)
        if values[0].startswith(_DOCUMENT):
            continue
        if line.startswith("#") and not sentence.words and _shape(line) != shape:
            continue  # a comment, as in CoNLL-U; a word # has its tag beside it like every other
        if len(values) <= max(word, tag, 1):
            raise UsageError(
                f"{path}, line {number}: {len(values)} columns; write one word and its tag per line"
            )
        if not values[word].strip(_BLANKS) or not values[tag].strip(_BLANKS):
            raise UsageError(f"{path}, line {number}: the word or its tag is empty; write both on each line")
        sentence.words.append(values[word].strip(_BLANKS))
        sentence.tags.append(values[tag].strip(_BLANKS))
        sentence.lines.append(number)
    if sentence.words:
        yield sentence


__all__ = [
    "Scheme",
    "TagError",
    "detect_scheme",
    "iob2_labels",
    "parquet_columns",
    "read_conll",
    "read_delimited",
    "read_hub",
    "read_jsonl",
    "read_lines",
    "read_parquet",
    "to_iob2",
]
