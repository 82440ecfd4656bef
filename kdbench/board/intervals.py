"""The interval of a row's score."""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import datetime
from pathlib import Path

import numpy as np

from kdbench.board.frames import Row
from kdbench.errors import KdbenchError
from kdbench.predictions import Predictions
from kdbench.stats import bootstrap_interval

Interval = tuple[float | None, float | None]
KnownIntervals = MutableMapping[tuple[tuple[str, datetime], ...], Interval]
"""Intervals by the key and end of each cell that they are drawn from: spares a redrawn board the bootstrap."""


def row_interval(
    cells: list[Row], results: Path | None, known: KnownIntervals
) -> tuple[Interval, str | None]:
    """Return the 95% interval of the mean score of a row's `cells`, or Nones and why there is none.

    One seed's interval stands in its record; several seeds' is drawn from their predictions in `results`, over
    examples and seeds, and added to `known`.
    """
    if len(cells) == 1:
        return (cells[0]["score_low"], cells[0]["score_high"]), None
    made_from = tuple((cell["key"], cell["finished_at"]) for cell in cells)
    if made_from not in known:
        if results is None:
            return (None, None), None
        try:
            known[made_from] = _bootstrap(cells, results / "predictions")
        except KdbenchError as error:
            return (None, None), f"no interval: {error}"
    return known[made_from], None


def _bootstrap(cells: list[Row], folder: Path) -> Interval:
    # It loads datasets and evaluate, which takes seconds that a board of one seed need not wait.
    from kdbench.metrics import get_metric

    metric = get_metric(cells[0]["metric"])
    loaded = [_load(cell, folder) for cell in cells]
    in_order = [np.argsort(predictions.ids, kind="stable") for predictions in loaded]
    ids = [predictions.ids[order] for predictions, order in zip(loaded, in_order, strict=True)]
    if any(not np.array_equal(ids[0], others) for others in ids[1:]):
        raise KdbenchError("the seeds were scored on different examples")
    statistics = [
        metric.statistics(predictions, cell["labels"])[order]
        for predictions, cell, order in zip(loaded, cells, in_order, strict=True)
    ]
    return bootstrap_interval(np.stack(statistics), metric.score)


def _load(cell: Row, folder: Path) -> Predictions:
    try:
        return Predictions.load(folder / f"{cell['key']}.safetensors")
    except KdbenchError as error:
        # The error names the file with its folder, which is nobody's business on a published board.
        raise KdbenchError(f"the predictions of seed {cell['seed']} are missing or damaged") from error
