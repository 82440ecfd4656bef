"""From a results folder to the table of cells that boards and comparisons are drawn from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kdbench.board.cells import tidy
from kdbench.board.formatting import on_one_line
from kdbench.board.select import select
from kdbench.board.source import Source, read_results
from kdbench.errors import UsageError
from kdbench.records import Record
from kdbench.timings import Timing


@dataclass(frozen=True)
class Loaded:
    """The cells that may be compared, and a line for each file or record that is not among them."""

    cells: pd.DataFrame
    unreadable: tuple[str, ...]
    left_out: tuple[str, ...]
    records: tuple[Record, ...]
    """The records of `cells`, in their order."""
    timings: tuple[Timing, ...]
    """All that could be read, of whatever cells."""


def load_cells(
    results: Path, *, budget: str, model: str | None = None, keys: Collection[str] | None = None
) -> Loaded:
    """Return the cells of one budget and base model that the folder `results` holds.

    Args:
        results: the folder with the records and timings.
        budget: the name of the budget whose records are taken.
        model: the base model's name or the SHA-256 of its weights; by default that of the newest record.
        keys: the cells to take; by default all.

    Raises:
        UsageError: there is none; names what there is instead.
    """
    return cells_of(read_results(results), budget=budget, model=model, keys=keys)


def cells_of(
    source: Source, *, budget: str, model: str | None = None, keys: Collection[str] | None = None
) -> Loaded:
    """Return the cells of one budget and base model that `source` holds, as `load_cells` does.

    Raises:
        UsageError: there is none; names what there is instead.
    """
    selection = select(list(source.records), budget=budget, model=model, keys=keys)
    if not selection.records:
        raise UsageError(_nothing_to_show(source, budget, model, keys))
    conflicts = (source.conflicts.get(record.key) for record in selection.records)
    return Loaded(
        cells=tidy(selection.records, source.timings),
        unreadable=source.unreadable,
        left_out=(*selection.left_out, *(line for line in conflicts if line is not None)),
        records=tuple(selection.records),
        timings=source.timings,
    )


def _nothing_to_show(source: Source, budget: str, model: str | None, keys: Collection[str] | None) -> str:
    """Return one line that says what was looked for, what there is instead, and what to do."""
    wanted = f"budget {budget!r}"
    if model is not None:
        wanted += f" and base model {model!r}"
    if keys is not None:
        wanted += " among the cells asked for"
    there = sorted({f"{record.model.name} at budget {record.budget.name!r}" for record in source.records})
    return (
        f"no record of {wanted} in {source.name} (there: {on_one_line(', '.join(there)) or 'none'});"
        f" make some by 'kdbench run --budget {budget}'"
    )
