"""All that the page tells of one row when it is opened."""

from __future__ import annotations

import json
from typing import Any

from kdbench.board import formatting
from kdbench.board.formatting import on_one_line
from kdbench.board.frames import Row
from kdbench.board.html.latency import latency_grid
from kdbench.board.html.numbers import rounded
from kdbench.board.html.sources import Sources
from kdbench.records import LearningCurve, Record, Status

Details = dict[str, Any]
"""Made of what JSON knows; what is absent was not measured."""


def row_details(row: Row, cells: list[Row], sources: Sources) -> Details:
    """Return the details of `row`.

    Args:
        row: of the table of rows.
        cells: its cells, a seed each.
        sources: the folder that they come from.
    """
    details: Details = {
        "status": row["status"],
        "reason": row["reason"],
        "control": row["control"],
        "gap_reason": row.get("gap_reason"),
        "warnings": _lines(row["warnings"]),
        "note": _lines(row["note"]),
        "latency_note": _lines(row["latency_note"]),
        "strategy": _strategy(sources.record(cells[0]["key"])),
        "seeds": [_seed(cell, sources.record(cell["key"])) for cell in cells],
        "logs": [
            {"seed": cell["seed"], "lines": lines}
            for cell in cells
            if cell["status"] in (Status.FAILED.value, Status.TIMEOUT.value)
            and (lines := sources.log_end(cell["key"]))
        ],
        "latency": next(
            (grid for cell in cells if (grid := latency_grid(sources.timing(cell["key"])))), None
        ),
        **sources.by_class(cells),
    }
    return {name: value for name, value in details.items() if value not in (None, [], "")}


def _lines(told: object) -> list[str]:
    return [on_one_line(str(told))] if told else []


def _strategy(record: Record) -> dict[str, Any]:
    strategy = record.strategy
    return {
        "title": strategy.title,
        "paper": strategy.reference,
        "distribution": f"{strategy.distribution} {strategy.version}",
        "params": [[name, _value(value)] for name, value in strategy.params.items()],
    }


def _value(value: object) -> str:
    if value is None:
        return "not set"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _seed(cell: Row, record: Record) -> dict[str, Any]:
    return {
        "seed": cell["seed"],
        "status": cell["status"],
        "reason": cell["reason"],
        "score": rounded(cell["score"]),
        "score_text": formatting.with_interval(cell["score"], cell["score_low"], cell["score_high"]),
        "training": formatting.seconds(cell["train_s"]),
        "metrics": {name: formatting.percent(score) for name, score in record.quality.metrics.items()}
        if record.quality
        else {},
        "curves": [_curve(curve) for curve in record.curves],
        "key": cell["key"],
    }


def _curve(curve: LearningCurve) -> dict[str, Any]:
    """Return a training loop's losses and, in percent, its validations, each with the steps."""
    return {
        "steps": curve.steps,
        "losses": [rounded(loss, digits=3) for loss in curve.losses],
        "validated": curve.validated,
        "scores": [formatting.percent(score) for score in curve.scores],
    }
