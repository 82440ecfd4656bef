"""The places that a user names to draw a board from: folders, files and globs."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from kdbench.board.joined import joined
from kdbench.board.source import Source, holds_records, read_source
from kdbench.errors import UsageError


@contextmanager
def opened(places: Iterable[str], flag: str) -> Iterator[Source]:
    """Give the records that `places` (folders, files or globs) hold together, for as long as the block lasts.

    Args:
        places: results folders, folders of boards, or files of records; `read_source` says what each may be.
        flag: what the user gave them by, for messages.

    Raises:
        UsageError: a place is not there, or holds no record that can be read. What only a glob led to is skipped and
            named in `Source.unreadable` instead, unless nothing is left.
    """
    sources, skipped = [], []
    for place, is_named in _found(places, flag).items():
        if not (is_named or holds_records(place)):
            skipped.append(f"skipped {place}: neither a results folder nor a board's")
            continue
        try:
            sources.append(read_source(place))
        except UsageError as error:
            if is_named:
                raise UsageError(f"{flag}: {error}") from None
            skipped.append(f"skipped: {error}")
    if not sources:
        raise UsageError(f"{flag} {' '.join(places)}: no records there ({'; '.join(skipped)})")
    with joined(sources) as source:
        yield replace(source, unreadable=(*skipped, *source.unreadable))


def _found(patterns: Iterable[str], flag: str) -> dict[Path, bool]:
    """Return the places that names and globs lead to, in their order, and whether each was named itself."""
    found: dict[Path, tuple[Path, bool]] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        is_named = path.exists() or not glob.has_magic(pattern)
        matched = [path] if is_named else [Path(one) for one in sorted(glob.glob(str(path)))]
        if not matched:
            raise UsageError(f"{flag} {pattern}: nothing there has such a name (looked from {Path.cwd()})")
        for one in matched:
            # Two patterns may lead to one folder, which counts once.
            found.setdefault(one.resolve(), (one, is_named))
    return dict(found.values())
