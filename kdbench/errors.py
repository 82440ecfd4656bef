"""Define the errors that a user can act on, and format any error as one line."""

from __future__ import annotations

import importlib
from pathlib import Path
from reprlib import Repr
from traceback import walk_tb

from kdbench.utils.formatting import on_one_line

_IMPORT_SYSTEM = ("<frozen", str(Path(importlib.__file__).parent))
_LONGEST = 2000
"""Characters of a message: a name in it may be a whole file."""


class KdbenchError(Exception):
    """A user's mistake or an environment problem, reported in one line with its remedy; no traceback is shown.

    The line is what a terminal shows, whatever names and values of others are in it.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(on_one_line(str(message), _LONGEST))


class UsageError(KdbenchError):
    """An invalid command, config or input file; exit code 2."""


def did_you_mean(name: str, known: list[str]) -> str:
    """Return a hint such as `` (did you mean 'lora'?)``, or an empty string if no known name is similar."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def nearest(name: str, known: list[str]) -> str:
    """Return a hint such as `` (did you mean 'lora'?)``, or the list of known names if none is similar."""
    return did_you_mean(name, known) or f" (known: {', '.join(sorted(known)) or 'none'})"


def described(error: BaseException) -> str:
    """Return `error` in one line: for a `KdbenchError` its message, for others type and message."""
    message = " ".join(str(error).split())
    if isinstance(error, KdbenchError):
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def one_line(error: BaseException) -> str:
    """Return `error` as `described`, and for others than a `KdbenchError` the file and line that raised it."""
    if isinstance(error, KdbenchError | SyntaxError):
        return described(error)  # a SyntaxError's message contains file and line
    # The first frame is the one that caught the error; the one that raised it comes last.
    frames = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)][1:]
    places = [f"{file}, line {line}" for file, line in frames if not file.startswith(_IMPORT_SYSTEM)]
    return f"{described(error)} ({places[-1]})" if places else described(error)


class _Abbreviated(Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 100

    def repr_int(self, x: int, level: int) -> str:
        try:
            return super().repr_int(x, level)
        except ValueError:  # it has more digits than Python prints
            return f"an integer of {x.bit_length():,} bits"


def shown(value: object) -> str:
    """Return the ``repr`` of `value`, with long parts abbreviated."""
    return _Abbreviated().repr(value)
