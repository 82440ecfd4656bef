"""Lock files and folders between processes by locks of the operating system, which end with the process."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from kdbench.utils.files import make_folder

_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of the file `path`, which stays behind empty, in the block; yield whether there are locks.

    On a file system without locks the block runs all the same. Nothing half-written is seen there either, since files and
    folders are renamed into place; but two processes may then make the same thing at once.

    Raises:
        filelock.Timeout: another process holds it, if not to `wait`.
        OSError: the file cannot be written.
    """
    make_folder(path.parent)
    lock = FileLock(path, blocking=wait)
    try:
        lock.acquire()
    except OSError as error:
        if isinstance(error, TimeoutError) or error.errno not in _WITHOUT_LOCKS:
            raise
    try:
        yield lock.is_locked
    finally:
        lock.release()
