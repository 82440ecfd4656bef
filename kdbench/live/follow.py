"""A run as the live page sees it: how far its cells are, and the board that it drew last."""

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
from kdbench.errors import KdbenchError
from kdbench.live.recorder import LiveState, read_state
from kdbench.render.html.content import page_content
from kdbench.render.html.page import picture_specification

ROWS = "rows.parquet"
"""The table of rows, as a run leaves it in the board's folder after each cell."""
MOST_OF_THE_TIME = 0.1
"""The largest part of the time that goes into preparing boards: a run shall not notice who looks at it."""
LINGERING_S = 6.0
"""Longer than an open page waits between two questions."""

Version = str | None
"""Tells one table of rows from the next."""


@dataclass(frozen=True)
class Place:
    """Where to look."""

    results: Path
    board: Path | None
    """None takes the folder that the run says."""
    default_board: Path
    """Where no run has left word."""
    budget: str
    model: str | None
    since: datetime | None = None
    """What runs before this moment left is not told; None tells the last run, whenever it was."""


class Follow:
    """Answers the live page, from files alone: nothing is computed from predictions but what an opened row tells.

    The statistics are those that the run computed for its own board.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._version: Version = None
        self._content = _json({"version": None, "content": None})
        self._next_s = 0.0
        self._asked_s = -math.inf
        self._told_end = False
        self._known: KnownByClass = {}

    def state(self) -> bytes:
        """Return as JSON how the run is going, and which board there is to fetch."""
        run, problem = self._run()
        self._asked_s = time.monotonic()
        self._told_end = run is not None and run.ending is not None
        now = datetime.now(timezone.utc)
        return _json(
            {
                "run": run.model_dump(mode="json") if run else None,
                "problem": problem,
                "expected": self._place.since is not None,
                "silent_s": max(0.0, (now - run.told_at).total_seconds()) if run else None,
                "board": self._offered(run),
            }
        )

    def content(self) -> bytes:
        """Return as JSON the newest board, or the last one where a newer would come too soon."""
        run, _ = self._run()
        with self._lock:
            version = self._offered(run)
            if version is not None and version != self._version:
                started = time.monotonic()
                drawn = self._drawn(run)
                self._content = _json({"version": version, **drawn})
                self._version = version if drawn["content"] else None  # or else it is tried again
                took_s = time.monotonic() - started
                self._next_s = time.monotonic() + took_s * (1 / MOST_OF_THE_TIME - 1)
            return self._content

    def wait_for_readers(self) -> None:
        """Return when whoever looks at the page has seen how the run ended, or after `LINGERING_S`."""
        give_up_s = time.monotonic() + LINGERING_S
        while self._is_looked_at() and not self._told_end and time.monotonic() < give_up_s:
            time.sleep(0.1)
        if self._told_end and self._is_looked_at():
            time.sleep(1.0)  # in which the page asks for the last board
            with self._lock:
                return

    def _is_looked_at(self) -> bool:
        return time.monotonic() - self._asked_s < LINGERING_S

    def _run(self) -> tuple[LiveState | None, str | None]:
        run, problem = read_state(self._place.results)
        if run is not None and self._place.since is not None and run.started_at < self._place.since:
            return None, None
        return run, problem

    def _rows_file(self, run: LiveState | None) -> Path:
        return (self._place.board or (Path(run.board) if run else self._place.default_board)) / ROWS

    def _offered(self, run: LiveState | None) -> Version:
        """Return the version of the board that `content` would return."""
        is_over = run is not None and run.ending is not None
        if time.monotonic() < self._next_s and not is_over:
            return self._version
        try:
            found = self._rows_file(run).stat()
        except OSError:
            return self._version
        return f"{found.st_mtime_ns}-{found.st_size}"

    def _drawn(self, run: LiveState | None) -> dict[str, Any]:
        """Return what the page shows of the board, or why it cannot."""
        place = self._place
        try:
            rows = _read_rows(self._rows_file(run))
            loaded = load_cells(
                place.results,
                budget=run.budget if run else place.budget,
                model=run.weights_sha256 if run else place.model,
            )
            known = set(zip(loaded.cells["task"], loaded.cells["strategy"], strict=True))
            there = [pair in known for pair in zip(rows["task"], rows["strategy"], strict=True)]
            if not any(there):
                return {"content": None}
            rows = rows[there].reset_index(drop=True)
            across = across_tasks(rows, loaded.cells)
            content = page_content(rows, across, loaded, place.results, self._known)
        except (KdbenchError, OSError, ValueError) as error:
            return {"content": None, "problem": str(error)}
        return {"content": content, "specification": picture_specification(content["families"])}


def _read_rows(path: Path) -> pd.DataFrame:
    """Return the table of rows at `path`.

    Raises:
        ValueError: another version of kdbench drew it.
    """
    rows = pd.read_parquet(path)
    missing = sorted(set(ROW_COLUMNS) - set(rows.columns))
    if missing:
        raise ValueError(
            f"{path} was drawn by another version of kdbench: it has no {missing[0]}; draw it again by 'kdbench board'"
        )
    return rows


def _json(data: object) -> bytes:
    return json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
