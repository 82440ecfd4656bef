"""Collect what readers notice about a file that is valid but may not be what its author meant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_MOST = 20
_collected: ContextVar[dict[str, None] | None] = ContextVar("remarks", default=None)


@contextmanager
def collect_remarks() -> Iterator[dict[str, None]]:
    """Yield a mapping whose keys become the remarks of the block, each once."""
    remarks: dict[str, None] = {}
    token = _collected.set(remarks)
    try:
        yield remarks
    finally:
        _collected.reset(token)


def remark(line: str) -> None:
    """Add `line` to the remarks that are being collected, if any are."""
    remarks = _collected.get()
    if remarks is not None and len(remarks) < _MOST:
        remarks[line] = None
