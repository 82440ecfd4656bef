"""Tell the user in one line, from wherever it was noticed, what was wrong and what kdbench does about it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kdbench.utils.formatting import on_one_line

_LOGGER = logging.getLogger("kdbench")
_MAX_LENGTH = 2000


def remark(line: str) -> None:
    """Tell the user `line`; without `remarks_to`, Python's logging prints it on standard error."""
    _LOGGER.warning("%s", on_one_line(line, _MAX_LENGTH))


@contextmanager
def remarks_to(tell: Callable[[str], None]) -> Iterator[None]:
    """Pass the remarks of this process to `tell` in the block."""
    before, _LOGGER.handlers = _LOGGER.handlers, [_Handler(tell)]
    try:
        yield
    finally:
        _LOGGER.handlers = before


class _Handler(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Pass the line on."""
        self._tell(record.getMessage())
