"""Read an untrusted folder: only regular files inside it, and none that is too large."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from kdbench.errors import UsageError
from kdbench.results.paths import RECORDS_FILE
from kdbench.results.records import Record
from kdbench.results.timings import Timing
from kdbench.share.verify_report import Report
from kdbench.utils.files import JsonModel, is_temporary

LARGEST_RECORD_BYTES = 4 << 20
LARGEST_TIMING_BYTES = 64 << 20
LARGEST_FILE_BYTES = 1 << 30
"""Of records.jsonl, which contains all records."""
LARGEST_PREDICTIONS_BYTES = 64 << 20
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
                content = self._read(name, LARGEST_RECORD_BYTES)
                record = self._parsed(Record, name, content)
                if record is not None and Path(name).name != f"{record.key}.json":
                    line = f"contains the record {record.key}"
                    self._report.problem(name, line, f"rename it to {record.key}.json")
                elif record is not None:
                    yield name, record
        elif (path := self.locate(RECORDS_FILE, LARGEST_FILE_BYTES)) is not None:
            yield from self._records_of_lines(path)

    def timings(self) -> Iterator[tuple[str, Timing]]:
        """Yield each timing that fits the schema, with its place; others are reported as problems."""
        for name in self._names("timings"):
            timing = self._parsed(Timing, name, self._read(name, LARGEST_TIMING_BYTES))
            if timing is not None:
                yield name, timing

    def predictions(self) -> list[str]:
        """Return the names of the prediction files."""
        return self._names("predictions")

    def locate(self, name: str, max_bytes: int) -> Path | None:
        """Return the path of the file `name` if it may be read, or None; a file that must not be read is a problem."""
        path = self._root / name
        try:
            real = path.resolve(strict=True)
            size = real.stat().st_size
        except (OSError, RuntimeError) as error:  # a cycle of links raises either
            if path.is_symlink() or not isinstance(error, FileNotFoundError):
                self._report.problem(name, "cannot be read", "submit the file itself")
            return None
        if self._real not in real.parents:
            self._report.problem(name, _LINK, "submit the file itself")
        elif not real.is_file():
            self._report.problem(name, "is not a regular file", "remove it")
        elif size > max_bytes:
            line = f"has {size:,} bytes, more than the limit of {max_bytes:,}"
            self._report.problem(name, line, "split it, or leave it out")
        else:
            return real
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
            lines = iter(partial(file.readline, LARGEST_RECORD_BYTES + 1), b"")
            for number, line in enumerate(lines, start=1):
                place = f"{RECORDS_FILE}, line {number}"
                if len(line) > LARGEST_RECORD_BYTES:
                    problem = f"is longer than {LARGEST_RECORD_BYTES:,} bytes; no further line was read"
                    self._report.problem(place, problem, "shorten it")
                    return
                record = self._parsed(Record, place, line) if line.strip() else None
                if record is not None:
                    yield place, record

    def _parsed(self, kind: type[_T], place: str, content: bytes | None) -> _T | None:
        if content is None:
            return None
        self._report.checked[f"{kind.__name__.lower()}s"] += 1
        try:
            return kind.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(str(part) for part in first["loc"]) or "file"
            version = kind.model_fields["schema_version"].default
            line = f"is not a {kind.__name__.lower()} of schema {version} ({at}: {first['msg']})"
            self._report.problem(place, line, "write it again with this version of kdbench, or leave it out")
            return None
