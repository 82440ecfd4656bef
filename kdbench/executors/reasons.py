"""Why a job did not end well, in one line."""

from __future__ import annotations

import errno
import os
import signal

from kdbench.errors import KdbenchError

_LONGEST = 300
_NO_ROOM = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT))


def one_line(error: BaseException) -> str:
    """Return the error's type and message in one line of readable length."""
    message = " ".join(str(error).split())
    if not isinstance(error, KdbenchError):
        message = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return message if len(message) <= _LONGEST else message[: _LONGEST - 1] + "…"


def exit_reason(code: int) -> str:
    """Return what a process's exit code says, where the process itself said nothing."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{hint}"
    return f"its process ended with exit code {code} and said nothing"


def tells_of_a_full_disk(reason: str) -> bool:
    """Return whether a job ended for want of room, in whichever library the disk turned out to be full."""
    return any(words in reason for words in _NO_ROOM)
