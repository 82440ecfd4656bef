"""Lock a results folder."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock, Timeout

from kdbench.errors import UsageError


def lock_results(results: Path) -> AbstractContextManager[object]:
    """Lock the results folder against other runs and searches; the lock ends with the process, however that ends.

    Raises:
        UsageError: another process has locked it, or it cannot be written.
    """
    try:
        results.mkdir(parents=True, exist_ok=True)
        return FileLock(results / "run.lock", blocking=False).acquire()
    except Timeout:
        raise UsageError(
            f"results folder {results} is in use by another run; wait until it ends or name another with --results"
        ) from None
    except OSError as error:
        raise UsageError(
            f"results folder {results} cannot be written ({error.strerror}); name another with --results"
        ) from None
