"""Read an untrusted folder: only regular files inside it, and none that is too large."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from kdbench.errors import UsageError
from kdbench.results.paths import LARGEST_RECORDS_BYTES, RECORDS_FILE
from kdbench.results.records import Record
from kdbench.results.timings import Timing
from kdbench.share.verify_report import Report
from kdbench.utils.files import JsonModel, is_temporary, parse_json
from kdbench.utils.plain_files import plain_file

LARGEST_FOLDER_BYTES = 4 << 30
"""Of all files that are read of a folder."""
MOST_FILES = 100_000
_LINK = "is a link out of the folder and was not followed"

_T = TypeVar("_T", bound=JsonModel)


class SubmittedFolder:
    """An untrusted results folder or published folder.

    Raises:
        UsageError: it contains no records.
    """

    def __init__(self, root: Path, report: Report) -> None:
        self._root = root
        self._real = root.resolve()
        self._report = report
        self._bytes = 0
        self._is_results = (root / "records").is_dir()
        if not root.is_dir():
            raise UsageError(f"{root} is not a folder; name a results folder, or a published one")
        if not self._is_results and not (root / RECORDS_FILE).exists():
            raise UsageError(
                f"{root} contains neither records/ nor {RECORDS_FILE}; name a results folder, or a published one"
            )

    def records(self) -> Iterator[tuple[str, Record]]:
        """Yield each record that fits the schema, with its place; others are reported as problems."""
        if self._is_results:
            for name in self._names("records"):
                content = self._read(name, Record.largest_bytes)
                record = self._parsed(Record, name, content)
                if record is not None and Path(name).name != f"{record.key}.json":
                    line = f"contains the record {record.key}"
                    self._report.problem(name, line, f"rename it to {record.key}.json")
                elif record is not None:
                    yield name, record
        elif (path := self.locate(RECORDS_FILE, LARGEST_RECORDS_BYTES)) is not None:
            yield from self._records_of_lines(path)

    def timings(self) -> Iterator[tuple[str, Timing]]:
        """Yield each timing that fits the schema, with its place; others are reported as problems."""
        for name in self._names("timings"):
            timing = self._parsed(Timing, name, self._read(name, Timing.largest_bytes))
            if timing is not None:
                yield name, timing

    def predictions(self) -> list[str]:
        """Return the names of the prediction files."""
        return self._names("predictions")

    def locate(self, name: str, max_bytes: int) -> Path | None:
        """Return the path of the file `name` if it may be read, or None; a file that must not be read is a problem."""
        try:
            path = plain_file(self._root / name, max_bytes, self._root)
        except FileNotFoundError:
            if (self._root / name).is_symlink():
                self._report.problem(name, "is a link to nothing", "submit the file itself")
        except OSError as error:
            reason = error.strerror or str(error)
            self._report.problem(name, reason, "submit a plain file within the limits, or leave it out")
        else:
            return self._within_limit(name, path)
        return None

    def _within_limit(self, name: str, path: Path) -> Path | None:
        """Return `path`, or None from the file on with which all that was read would exceed the limit."""
        self._bytes += path.stat().st_size
        if self._bytes <= LARGEST_FOLDER_BYTES:
            return path
        self._report.not_checked(
            name, f"files beyond the limit of {LARGEST_FOLDER_BYTES:,} bytes for a folder"
        )
        return None

    def _names(self, part: str) -> list[str]:
        folder = self._root / part
        if not folder.is_dir():
            return []
        if self._real not in folder.resolve().parents:
            self._report.problem(part, _LINK, "submit the files themselves")
            return []
        paths = sorted(path for path in folder.iterdir() if not is_temporary(path))
        if len(paths) > MOST_FILES:
            line = f"contains {len(paths):,} files; the first {MOST_FILES:,} were read"
            self._report.problem(part, line, "split it")
        return [f"{part}/{path.name}" for path in paths[:MOST_FILES]]

    def _read(self, name: str, max_bytes: int) -> bytes | None:
        path = self.locate(name, max_bytes)
        try:
            return None if path is None else path.read_bytes()
        except OSError as error:
            self._report.problem(name, f"cannot be read ({error.strerror})", "submit it again")
            return None

    def _records_of_lines(self, path: Path) -> Iterator[tuple[str, Record]]:
        with path.open("rb") as file:
            lines = iter(partial(file.readline, Record.largest_bytes + 1), b"")
            for number, line in enumerate(lines, start=1):
                place = f"{RECORDS_FILE}, line {number}"
                if len(line) > Record.largest_bytes:
                    problem = f"is longer than {Record.largest_bytes:,} bytes; no further line was read"
                    self._report.problem(place, problem, "shorten it")
                    return
                record = self._parsed(Record, place, line) if line.strip() else None
                if record is not None:
                    yield place, record

    def _parsed(self, kind: type[_T], place: str, content: bytes | None) -> _T | None:
        if content is None:
            return None
        self._report.checked[f"{kind.__name__.lower()}s"] += 1
        item, problem = parse_json(kind, content)
        if problem is not None and problem == kind.outdated:
            self._report.not_checked(place, problem)
        elif problem is not None:
            self._report.problem(
                place, problem, "write it again with this version of kdbench, or leave it out"
            )
        return item
