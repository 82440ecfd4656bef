"""A row's answers on the scored examples of one task, seed by seed, in one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kdbench.board.frames import Row
from kdbench.errors import KdbenchError
from kdbench.metrics import Metric, get_metric
from kdbench.predictions import Predictions


@dataclass(frozen=True, eq=False)
class Scored:
    """The answers of one row on one task; every array has the examples in the order of their ids."""

    metric: Metric
    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    ids: npt.NDArray[np.int64]
    """(examples,): which examples of the scored split."""
    statistics: npt.NDArray[np.float64]
    """(seeds, examples, k): what each example adds to the sums that the metric's `score` reads."""
    predictions: tuple[Predictions, ...]
    """One a seed, as stored: in an order of their own."""

    def of_seeds(self, seeds: Sequence[int]) -> npt.NDArray[np.float64]:
        """Return the statistics of these `seeds`, in their order."""
        return self.statistics[[self.seeds.index(seed) for seed in seeds]]

    def answers(self, seed: int) -> list[npt.NDArray[Any]]:
        """Return for each example what the model of `seed` answered, unit by unit."""
        found = self.predictions[self.seeds.index(seed)]
        return _by_example(found, found.predicted)

    def references(self) -> list[npt.NDArray[Any]]:
        """Return for each example the right answers, unit by unit."""
        return _by_example(self.predictions[0], self.predictions[0].references)


def load_scored(cells: list[Row], results: Path) -> Scored:
    """Return the answers of one row's `cells` on one task, a cell a seed, from the predictions in `results`.

    Raises:
        KdbenchError: a file is missing or damaged, or the seeds were scored on different examples.
    """
    metric = get_metric(cells[0]["metric"])
    loaded = [load_predictions(cell, results) for cell in cells]
    orders = [_order(predictions) for predictions in loaded]
    ids = [predictions.ids[order] for predictions, order in zip(loaded, orders, strict=True)]
    if any(not np.array_equal(ids[0], others) for others in ids[1:]):
        raise KdbenchError("the seeds were scored on different examples")
    statistics = [
        metric.statistics(predictions, cell["labels"])[order]
        for predictions, cell, order in zip(loaded, cells, orders, strict=True)
    ]
    return Scored(
        metric=metric,
        labels=tuple(cells[0]["labels"]),
        seeds=tuple(cell["seed"] for cell in cells),
        ids=ids[0],
        statistics=np.stack(statistics),
        predictions=tuple(loaded),
    )


def load_predictions(cell: Row, results: Path) -> Predictions:
    """Return the predictions of one cell.

    Raises:
        KdbenchError: they are missing or damaged; says of which seed.
    """
    try:
        return Predictions.load(results / "predictions" / f"{cell['key']}.safetensors")
    except KdbenchError as error:
        # The error names the file with its folder, which is nobody's business on a published board.
        raise KdbenchError(f"the predictions of seed {cell['seed']} are missing or damaged") from error


def _order(predictions: Predictions) -> npt.NDArray[np.int64]:
    return np.argsort(predictions.ids, kind="stable")


def _by_example(predictions: Predictions, units: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Return the part of `units` that each example owns, in the order of the ids."""
    if predictions.offsets is None:
        parts = list(units[:, None])
    else:
        parts = np.split(units, predictions.offsets[1:-1])
    return [parts[place] for place in _order(predictions)]
