"""Read files of a folder that somebody else may have made: plain ones, of bounded size, that lie inside it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_ANY_SIZE = 1 << 62


def plain_file(path: Path, max_bytes: int = _ANY_SIZE, within: Path | None = None) -> Path:
    """Return the real path of the file at `path`, which may be read.

    Args:
        path: the file, or a link to it.
        max_bytes: the largest size that is read.
        within: the folder that the file must lie in, wherever links lead; None if it may lie anywhere.

    Raises:
        OSError: it may not be read; `strerror` says why.
    """
    try:
        real = path.resolve(strict=True)
    except RuntimeError:  # a cycle of links, before Python 3.13
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from None
    if within is not None and within.resolve() not in real.parents:
        raise OSError(errno.EXDEV, "is a link out of the folder and was not followed", str(path))
    status = real.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):  # to open a pipe would wait for its other end
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    if status.st_size > max_bytes:
        raise OSError(
            errno.EFBIG, f"has {status.st_size:,} bytes, more than the limit of {max_bytes:,}", str(path)
        )
    return real


def read_plain(path: Path, max_bytes: int, within: Path | None = None) -> bytes:
    """Return the content of a file that `plain_file` allows to be read.

    Raises:
        OSError: it may not or cannot be read.
    """
    return plain_file(path, max_bytes, within).read_bytes()


def read_end(path: Path, max_bytes: int, within: Path | None = None) -> bytes:
    """Return the last `max_bytes` of a file of any size, else as `read_plain`.

    Raises:
        OSError: it may not or cannot be read.
    """
    with plain_file(path, within=within).open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - max_bytes))
        return file.read(max_bytes)
