"""Lock a results folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import Timeout

from kdbench.errors import UsageError
from kdbench.utils.locks import locked
from kdbench.utils.remarks import remark


@contextmanager
def lock_results(results: Path) -> Iterator[None]:
    """Lock the results folder against other runs and searches; the lock ends with the process, however that ends.

    Raises:
        UsageError: another process has locked it, or it cannot be written.
    """
    with ExitStack() as lock:
        _enter(lock, results)
        yield


def _enter(lock: ExitStack, results: Path) -> None:
    try:
        if not lock.enter_context(locked(results / "run.lock", wait=False)):
            remark(f"results folder {results} is on a file system without locks; let no other run use it now")
    except Timeout:
        raise UsageError(
            f"results folder {results} is in use by another run; wait until it ends or name another with --results"
        ) from None
    except OSError as error:
        raise UsageError(
            f"results folder {results} cannot be written ({error.strerror}); name another with --results"
        ) from None
