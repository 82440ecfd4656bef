"""Provide the data of the live page: the progress of a run's cells, and its latest board."""

from __future__ import annotations

import json
import math
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd

from kdbench.board.columns import ROW_COLUMNS
from kdbench.board.diagnostics import KnownByClass
from kdbench.board.load import load_cells
from kdbench.board.tables import across_tasks
from kdbench.errors import one_line
from kdbench.live.recorder import LiveState, read_state
from kdbench.render.html.content import page_content
from kdbench.render.html.page import picture_specification
from kdbench.utils.plain_files import plain_file

ROWS = "rows.parquet"
"""The table of rows, which a run writes into the board's folder after each cell."""
_LARGEST_BYTES = 256 << 20
MAX_TIME_SHARE = 0.1
"""The largest share of the time spent on preparing boards, so that viewers do not slow down the run."""
READER_TIMEOUT_S = 6.0
"""After so long without a request no page is open; an open page requests the state more often."""


@dataclass(frozen=True)
class Place:
    """The run and the folders to show."""

    results: Path
    board: Path | None
    """None stands for the folder that the run recorded."""
    default_board: Path
    """The board's folder if no run has recorded one."""
    budget: str
    model: str | None
    since: datetime | None = None
    """Runs that started before this moment are ignored; None shows the last run."""


class Follow:
    """Answers the live page's requests from files; only the details of an opened row are computed from predictions.

    The statistics are those that the run computed for its board.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._version: str | None = None
        """Identifies a version of the table of rows."""
        self._content = _json({"version": None, "content": None})
        self._next_s = 0.0
        self._last_request_s = -math.inf
        self._end_reported = False
        self._known: KnownByClass = {}

    def state(self) -> bytes:
        """Return as JSON the state of the run and the version of the board that can be fetched."""
        run, problem = self._run()
        self._last_request_s = time.monotonic()
        self._end_reported = run is not None and run.ending is not None
        now = datetime.now(timezone.utc)
        return _json(
            {
                "run": run.model_dump(mode="json") if run else None,
                "problem": problem,
                "expected": self._place.since is not None,
                "silent_s": max(0.0, (now - run.told_at).total_seconds()) if run else None,
                "board": self._available_version(run),
            }
        )

    def content(self) -> bytes:
        """Return as JSON the newest board, or the previous one if it was prepared only shortly ago."""
        run, _ = self._run()
        with self._lock:
            version = self._available_version(run)
            if version is not None and version != self._version:
                started = time.monotonic()
                board = self._board(run)
                self._content = _json({"version": version, **board})
                self._version = version if board["content"] else None  # otherwise it is tried again
                took_s = time.monotonic() - started
                self._next_s = time.monotonic() + took_s * (1 / MAX_TIME_SHARE - 1)
            return self._content

    def wait_for_readers(self) -> None:
        """Wait until open pages have shown how the run ended, at most `READER_TIMEOUT_S`."""
        deadline_s = time.monotonic() + READER_TIMEOUT_S
        while self._has_readers() and not self._end_reported and time.monotonic() < deadline_s:
            time.sleep(0.1)
        if self._end_reported and self._has_readers():
            time.sleep(1.0)  # the page requests the last board in this time
            with self._lock:
                return

    def _has_readers(self) -> bool:
        return time.monotonic() - self._last_request_s < READER_TIMEOUT_S

    def _run(self) -> tuple[LiveState | None, str | None]:
        run, problem = read_state(self._place.results)
        if run is not None and self._place.since is not None and run.started_at < self._place.since:
            return None, None
        return run, problem

    def _rows_file(self, run: LiveState | None) -> Path:
        return (self._place.board or (Path(run.board) if run else self._place.default_board)) / ROWS

    def _available_version(self, run: LiveState | None) -> str | None:
        """Return the version of the board that `content` would return."""
        is_over = run is not None and run.ending is not None
        if time.monotonic() < self._next_s and not is_over:
            return self._version
        try:
            status = self._rows_file(run).stat()
        except (OSError, ValueError):  # the state may be a stranger's, and name what no file is called
            return self._version
        return f"{status.st_mtime_ns}-{status.st_size}"

    def _board(self, run: LiveState | None) -> dict[str, Any]:
        """Return the page's content of the board, or the reason why there is none."""
        place = self._place
        try:
            rows = _read_rows(self._rows_file(run))
            budget, model = (run.budget, run.weights_sha256) if run else (place.budget, place.model)
            loaded = load_cells(place.results, budget=budget, model=model)
            known = set(zip(loaded.cells["task"], loaded.cells["strategy"], strict=True))
            recorded = [pair in known for pair in zip(rows["task"], rows["strategy"], strict=True)]
            if not any(recorded):
                return {"content": None}
            rows = rows[recorded].reset_index(drop=True)
            across = across_tasks(rows, loaded.cells)
            content = page_content(rows, across, loaded, place.results, self._known)
        except Exception as error:  # the table may be a stranger's, and hold anything
            return {"content": None, "problem": one_line(error)}
        return {"content": content, "specification": picture_specification(content["families"])}


def _read_rows(path: Path) -> pd.DataFrame:
    """Return the table of rows at `path`; a ValueError if another version of kdbench wrote it."""
    rows = pd.read_parquet(plain_file(path, _LARGEST_BYTES))
    missing = sorted(set(ROW_COLUMNS) - set(rows.columns))
    if missing:
        raise ValueError(
            f"{path} was written by another version of kdbench: it has no {missing[0]}; write it again with 'kdbench board'"
        )
    return rows


def _json(data: object) -> bytes:
    return json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
