"""Where the page's details come from: the records, timings, predictions and logs of a results folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdbench.board.answers import MadeFrom
from kdbench.board.formatting import on_one_line
from kdbench.board.loaded import Loaded
from kdbench.board.timed import shown_timings
from kdbench.errors import KdbenchError
from kdbench.predictions import Predictions
from kdbench.records import Record
from kdbench.results import CellFiles
from kdbench.timings import ModelTiming

KnownPages = dict[MadeFrom, dict[str, Any]]
"""What the stored answers of rows show; given to the next page, it spares reading them again."""
LOG_LINES = 40
"""So much of a log's end tells why a cell failed."""


class Sources:
    """What is known of single cells.

    Args:
        loaded: what a board is drawn from.
        results: the folder with the predictions and logs.
        known: what earlier pages' rows were found to answer; gets what is found now.
    """

    def __init__(self, loaded: Loaded, results: Path, known: KnownPages | None = None) -> None:
        self.known: KnownPages = {} if known is None else known
        self._results = results
        self._records = {record.key: record for record in loaded.records}
        shown = shown_timings(loaded.timings, set(self._records))
        self._timings = {key: model for key, (_, model) in shown.items()}

    def record(self, key: str) -> Record:
        """Return the record of a cell."""
        return self._records[key]

    def timing(self, key: str) -> ModelTiming | None:
        """Return the timing of a cell's model that the board shows, or None where there is none."""
        return self._timings.get(key)

    def predictions(self, key: str) -> Predictions | None:
        """Return the answers of a cell's model, or None where they cannot be read."""
        try:
            return Predictions.load(CellFiles(self._results, key).predictions)
        except KdbenchError:
            return None

    def log_end(self, key: str) -> list[str]:
        """Return the last lines of a cell's log; none where there is no log."""
        try:
            log = CellFiles(self._results, key).log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        return [on_one_line(line, 300) for line in log.splitlines() if line.strip()][-LOG_LINES:]
