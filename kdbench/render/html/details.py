"""Collect the details that the page shows of one row."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from kdbench.api.predictions import Predictions
from kdbench.board.cells import shown_timings
from kdbench.board.diagnostics import ByClass, KnownByClass, by_class
from kdbench.board.figures import FIGURES
from kdbench.board.frames import Row
from kdbench.board.load import Loaded
from kdbench.board.predictions import made_from
from kdbench.errors import KdbenchError
from kdbench.results.paths import LOG_BYTES, CellFiles
from kdbench.results.records import Record, Status
from kdbench.results.serving import ClosedLoop, ModelServing, OpenLoop
from kdbench.results.timings import BackEndTiming, ModelTiming, Point
from kdbench.utils import formatting
from kdbench.utils.formatting import MISSING, milliseconds, on_one_line, plural, with_interval
from kdbench.utils.plain_files import read_end

_TIMES = [FIGURES[name] for name in ("p50_ms", "p90_ms", "p95_ms")]
_RATES = [FIGURES[name] for name in ("throughput_per_s", "speedup")]
POINT_HEADINGS = [
    *("batch", "length", "threads", *(figure.heading for figure in _TIMES), "p99 ms"),
    *(*(figure.heading for figure in _RATES), "calls"),
]
"""The headings of a latency point's texts, in order."""


def _latency_grid(timing: ModelTiming | None) -> list[dict[str, Any]]:
    """Return per back end why it did not run, or its points as texts."""
    return [
        {
            "back_end": f"{timed.back_end} on {timed.device}{_unsteady(timed)}",
            "reason": timed.reason,
            "points": [_point(point) for point in timed.points],
        }
        for timed in (timing.back_ends if timing else ())
    ]


def _unsteady(timed: BackEndTiming) -> str:
    calls = timed.unsteady_after
    return "" if calls is None else f" (not stable yet after {calls} warm-up calls)"


def _point(point: Point) -> list[str]:
    row = point.model_dump()
    return [
        str(point.batch_size),
        "the task's own" if point.length is None else str(point.length),
        str(point.threads),
        *(figure.text(row) for figure in _TIMES),
        formatting.milliseconds(point.p99_ms),
        *(figure.text(row, is_brief=figure.name != "speedup") for figure in _RATES),
        str(point.calls),
    ]


LOAD_HEADINGS = ["load", "busy", "per second", "p50 ms", "p95 ms", "p99 ms", "requests"]
"""The headings of a load's texts, in order."""


def _loads(model: ModelServing | None) -> list[list[str]]:
    """Return the texts of each load that a model served."""
    return [] if model is None else [_load(loop) for loop in model.loops]


def _load(loop: OpenLoop | ClosedLoop) -> list[str]:
    times = [
        with_interval(loop.p50_ms, loop.p50_low_ms, loop.p50_high_ms, milliseconds),
        with_interval(loop.p95_ms, loop.p95_low_ms, loop.p95_high_ms, milliseconds),
        milliseconds(loop.p99_ms),
    ]
    if isinstance(loop, OpenLoop):
        times = ["beyond capacity"] * 3 if loop.is_beyond_capacity else times
        load, busy, per_s = (
            f"{loop.rate_per_s:g} arrivals per second",
            formatting.share(loop.utilization),
            MISSING,
        )
    else:
        load, busy = plural(loop.clients, "client"), MISSING
        per_s = with_interval(loop.per_s, loop.low_per_s, loop.high_per_s, formatting.three_digits)
    return [load, busy, per_s, *times, str(loop.requests)]


LOG_LINES = 40
"""The number of lines shown from the end of a failed cell's log."""


class Sources:
    """Look up records, timings, predictions and logs of single cells; the arguments are those of `page_content`."""

    def __init__(self, loaded: Loaded, results: Path, known: KnownByClass | None = None) -> None:
        self._known: KnownByClass = {} if known is None else known
        self._results = results
        self.records = {record.key: record for record in loaded.records}
        shown = shown_timings(loaded.timings, set(self.records))
        self.timings = {key: model for key, (_, model) in shown.items()}
        """The timings that the board shows."""
        self.serving = {
            key: served
            for key, (timing, _) in shown.items()
            if timing.serving is not None and (served := timing.serving.of(key)) is not None
        }

    def by_class(self, cells: list[Row]) -> ByClass:
        """Return the results by class of a row with these `cells`, one per seed, from its predictions."""
        source = made_from(cells)
        if source not in self._known:
            self._known[source] = by_class(cells, list(self._predictions(cells)))
        return self._known[source]

    def _predictions(self, cells: list[Row]) -> Iterator[Predictions]:
        """Yield the readable predictions of those `cells` with status ok."""
        for cell in cells:
            if cell["status"] == Status.OK.value:
                with suppress(KdbenchError):
                    yield Predictions.load(CellFiles(self._results, cell["key"]).predictions)

    def log_end(self, key: str) -> list[str]:
        """Return the last lines of a cell's log; none if there is no log."""
        try:
            log = read_end(CellFiles(self._results, key).log, LOG_BYTES, self._results)
        except OSError:
            return []
        lines = log.decode("utf-8", errors="replace").splitlines()
        return [on_one_line(line, 300) for line in lines if line.strip()][-LOG_LINES:]


def rounded(value: object, digits: int = 6) -> float | int | None:
    """Return an integer unchanged, a float to `digits` significant digits, and None for all else, NaN and infinity too.

    By default it keeps as many as a plot shows, which are enough for sorting.
    """
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value if isinstance(value, int) else None


def row_details(row: Row, cells: list[Row], sources: Sources) -> dict[str, Any]:
    """Return the details of `row`, whose `cells` are one per seed, as JSON data; absent values were not measured."""
    strategy = sources.records[cells[0]["key"]].strategy
    grids = (_latency_grid(sources.timings.get(cell["key"])) for cell in cells)
    details = {
        "status": row["status"],
        "reason": row["reason"],
        "control": row["control"],
        "gap_reason": row.get("gap_reason"),
        "warnings": _lines(row["warnings"]),
        "note": _lines(row["note"]),
        "latency_note": _lines(row["latency_note"]),
        "strategy": {
            "title": strategy.title,
            "paper": strategy.citation,
            "distribution": f"{strategy.distribution} {strategy.version}",
            "params": [[name, _value(value)] for name, value in strategy.params.items()],
        },
        "seeds": [_seed(cell, sources.records[cell["key"]]) for cell in cells],
        "logs": [
            {"seed": cell["seed"], "lines": lines}
            for cell in cells
            if cell["status"] in (Status.FAILED.value, Status.TIMEOUT.value)
            and (lines := sources.log_end(cell["key"]))
        ],
        "latency": next(filter(None, grids), None),
        "loads": next(filter(None, (_loads(sources.serving.get(cell["key"])) for cell in cells)), None),
        **sources.by_class(cells),
    }
    return {name: value for name, value in details.items() if value not in (None, [], "")}


def _lines(text: object) -> list[str]:
    return [on_one_line(str(text))] if text else []


def _value(value: object) -> str:
    if value is None:
        return "not set"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _seed(cell: Row, record: Record) -> dict[str, Any]:
    metrics = record.quality.metrics if record.quality else {}
    return {
        "seed": cell["seed"],
        "status": cell["status"],
        "reason": cell["reason"],
        "score": rounded(cell["score"]),
        "score_text": formatting.with_interval(cell["score"], cell["score_low"], cell["score_high"]),
        "training": formatting.seconds(cell["train_s"]),
        "metrics": {name: formatting.percent(score) for name, score in metrics.items()},
        "curves": [
            {
                "steps": curve.steps,
                "losses": [rounded(loss, digits=3) for loss in curve.losses],
                "validated": curve.validated,
                "scores": [formatting.percent(score) for score in curve.scores],
            }
            for curve in record.curves
        ],
        "key": cell["key"],
    }
