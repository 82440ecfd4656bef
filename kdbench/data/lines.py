"""The lines of a text file, checked: what is wrong with one is told with its number."""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from kdbench.errors import UsageError

_BYTE_ORDER_MARK = "\ufeff"
_MAGIC_BYTES = 4


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn the system's errors about reading `path` into the user's.

    Raises:
        UsageError: the file is missing, a folder, not permitted, or damaged.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist; correct the path") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder; name a file in it") from error
    except PermissionError as error:
        raise UsageError(f"{path} may not be read by this user; change its permissions") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"{path} is a damaged archive ({error}); fetch or pack it again") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file with their line ends; gzip and bzip2 are unpacked on the way.

    A byte-order mark is dropped.

    Raises:
        UsageError: the file is empty, cannot be read, is an archive of files, or holds bytes that are no text.
    """
    with readable(path), _open(path) as file:
        number = 0
        for number, raw in enumerate(file, 1):
            line = _decode(path, number, raw)
            yield line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
    if number == 0:
        raise UsageError(f"{path} is empty; it needs rows")


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
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
