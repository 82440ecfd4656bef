"""The board of a results folder, written as files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kdbench.board.csv_file import csv_text
from kdbench.board.formatting import on_one_line
from kdbench.board.intervals import KnownIntervals
from kdbench.board.overview_page import overview_page
from kdbench.board.select import select
from kdbench.board.table import aggregate, tidy
from kdbench.board.task_page import task_page
from kdbench.errors import KdbenchError, UsageError
from kdbench.files import write_atomically
from kdbench.records import Record, RecordStore

PluginColumns = Callable[[pd.DataFrame], Iterable[pd.DataFrame | None]]
"""Gets the table of rows and returns frames of further columns, a row for each of its rows (same index)."""


@dataclass(frozen=True)
class BoardSummary:
    """What `write_board` wrote, drawn from which table, and a line for each file or record that was left out."""

    written: tuple[Path, ...]
    rows: pd.DataFrame
    problems: tuple[str, ...]


def write_board(
    results: Path,
    board: Path,
    *,
    budget: str,
    model: str | None = None,
    keys: Collection[str] | None = None,
    columns: PluginColumns | None = None,
    pending: Sequence[tuple[str, str]] = (),
    known_intervals: KnownIntervals | None = None,
) -> BoardSummary:
    """Write ``README.md`` and, for each task, ``<task>.md`` and ``<task>.csv`` into the folder `board`.

    Args:
        results: the folder with the records, timings and predictions.
        board: the folder to write into; files of the same names are replaced, others are left alone.
        budget: the name of the budget whose records are shown.
        model: the base model's name or the SHA-256 of its weights; by default that of the newest record.
        keys: the cells to show; by default all.
        columns: further columns that plugins bring.
        pending: strategy and task of each cell that has not ended yet.
        known_intervals: what earlier calls computed; given the same mapping again, a call need not repeat it.

    Raises:
        UsageError: there is no record to show.
        KdbenchError: a file cannot be written.
    """
    store = RecordStore(results)
    records, unreadable = store.load()
    timings, unreadable_timings = store.load_timings()
    unreadable += unreadable_timings
    selection = select(records, budget=budget, model=model, keys=keys)
    if not selection.records:
        raise UsageError(_nothing_to_show(results, budget, model, keys, records))
    cells = tidy(selection.records, timings)
    rows = aggregate(cells, results, known_intervals)
    misfits: list[str] = []
    if columns is not None:
        rows, misfits = _with_plugin_columns(rows, columns)
    waiting = Counter(task for _, task in pending)
    pages = {}
    for task, of_task in rows.groupby("task"):
        pages[f"{task}.csv"] = csv_text(of_task)
        pages[f"{task}.md"] = task_page(of_task, cells[cells["task"] == task], waiting[str(task)])
    pages["README.md"] = overview_page(rows, cells, len(pending), selection.left_out, len(unreadable))
    written = tuple(_write(board / name, text) for name, text in pages.items())
    return BoardSummary(written, rows, (*unreadable, *selection.left_out, *misfits))


def _with_plugin_columns(rows: pd.DataFrame, columns: PluginColumns) -> tuple[pd.DataFrame, list[str]]:
    misfits = []
    # A copy: a plugin may change what it gets, but not the board.
    for further in columns(rows.copy()):
        if further is None:
            continue
        misfit = _misfit(rows, further)
        if misfit is None:
            rows = rows.join(further.rename(columns=str))
        else:
            misfits.append(f"left out a plugin's columns for the board: {misfit}")
    return rows, misfits


def _misfit(rows: pd.DataFrame, further: object) -> str | None:
    """Return why `further` cannot stand beside `rows`, or None where it can."""
    if not isinstance(further, pd.DataFrame):
        return f"kdbench_board_columns must return a DataFrame or None, not {type(further).__name__}"
    names = [str(name) for name in further.columns]
    if not further.index.is_unique or set(further.index) != set(rows.index):
        return f"{', '.join(names)}: the index is not that of the table"
    taken = sorted({name for name in names if name in rows.columns or names.count(name) > 1})
    return f"{', '.join(taken)}: taken by another column; choose another name" if taken else None


def _write(path: Path, text: str) -> Path:
    try:
        write_atomically(path, text)
    except OSError as error:
        raise KdbenchError(
            f"cannot write the board's {path} ({error.strerror}); make room or name another folder with --board"
        ) from error
    return path


def _nothing_to_show(
    results: Path, budget: str, model: str | None, keys: Collection[str] | None, records: list[Record]
) -> str:
    """Return one line that says what was looked for, what there is instead, and what to do."""
    wanted = f"budget {budget!r}"
    if model is not None:
        wanted += f" and base model {model!r}"
    if keys is not None:
        wanted += " among the cells asked for"
    there = sorted({f"{record.model.name} at budget {record.budget.name!r}" for record in records})
    return (
        f"no record of {wanted} in {results} (there: {on_one_line(', '.join(there)) or 'none'});"
        f" make some by 'kdbench run --budget {budget}'"
    )
