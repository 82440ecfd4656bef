"""Where the page's details come from: the records, timings, predictions and logs of a results folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from kdbench.board.cells import shown_timings
from kdbench.board.diagnostics import ByClass, KnownByClass, by_class
from kdbench.board.formatting import on_one_line
from kdbench.board.frames import Row
from kdbench.board.load import Loaded
from kdbench.board.predictions import made_from
from kdbench.errors import KdbenchError
from kdbench.evaluation.predictions import Predictions
from kdbench.records import Record, Status
from kdbench.results import CellFiles
from kdbench.timings import ModelTiming

LOG_LINES = 40
"""So much of a log's end tells why a cell failed."""


class Sources:
    """What is known of single cells.

    Args:
        loaded: what a board is drawn from.
        results: the folder with the predictions and logs.
        known: what rows were found to answer before; gets what is found now.
    """

    def __init__(self, loaded: Loaded, results: Path, known: KnownByClass | None = None) -> None:
        self._known: KnownByClass = {} if known is None else known
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

    def by_class(self, cells: list[Row]) -> ByClass:
        """Return what the answers of a row show.

        Args:
            cells: of one row, a seed each.
        """
        source = made_from(cells)
        if source not in self._known:
            self._known[source] = by_class(cells, list(self._predictions(cells)))
        return self._known[source]

    def _predictions(self, cells: list[Row]) -> Iterator[Predictions]:
        """Yield what can be read of the predictions of those `cells` that ended well."""
        for cell in cells:
            if cell["status"] == Status.OK.value:
                with suppress(KdbenchError):
                    yield Predictions.load(CellFiles(self._results, cell["key"]).predictions)

    def log_end(self, key: str) -> list[str]:
        """Return the last lines of a cell's log; none where there is no log."""
        try:
            log = CellFiles(self._results, key).log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        return [on_one_line(line, 300) for line in log.splitlines() if line.strip()][-LOG_LINES:]
