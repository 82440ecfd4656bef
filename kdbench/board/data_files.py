"""The files of a board that programs read: CSV, Parquet and the records themselves."""

from __future__ import annotations

import io
from collections.abc import Iterable

import pandas as pd

from kdbench.board.cells import MEASURED
from kdbench.board.csv_file import csv_text
from kdbench.board.formatting import listing
from kdbench.board.rows import PUBLISHED
from kdbench.board.tables import Tables
from kdbench.records import Record
from kdbench.results import RECORDS_FILE


def data_files(rows: pd.DataFrame, tables: Tables, records: Iterable[Record]) -> dict[str, str | bytes]:
    """Return the content of each file by its name.

    ``<task>.csv`` and ``rows.parquet`` have the table of rows, ``cells.csv`` and ``cells.parquet`` one line a
    strategy, task and seed, ``latency.csv`` one a point of latency, ``overview.csv`` one a strategy; all but those of
    Parquet, which has whatever there is, have columns that are only ever added to. ``records.jsonl`` has the records
    shown, in the order of their keys.

    Args:
        rows: the table of rows with the columns of plugins.
        tables: the others.
        records: those of the board.
    """
    cells = tables.cells
    measured = _as_text(cells[list(MEASURED)])
    # As they are, Parquet would store a column for every library that any machine names, and fails where none does.
    runtimes = cells["latency_runtimes"].map(listing, na_action="ignore")
    in_columns = _as_text(cells.assign(latency_runtimes=runtimes), ("labels", "warnings"))
    in_order = sorted(records, key=lambda record: record.key)
    return {
        **{f"{task}.csv": csv_text(of_task) for task, of_task in rows.groupby("task")},
        "cells.csv": csv_text(measured),
        "latency.csv": csv_text(tables.points),
        "overview.csv": csv_text(tables.across),
        "rows.parquet": _parquet(_as_text(rows, (name for name in rows.columns if name not in PUBLISHED))),
        "cells.parquet": _parquet(in_columns),
        RECORDS_FILE: "".join(f"{record.model_dump_json()}\n" for record in in_order),
    }


def _as_text(table: pd.DataFrame, names: Iterable[str] = ("warnings",)) -> pd.DataFrame:
    """Return `table` with lists, and whatever else a plugin may have put into these columns, as text."""
    objects = [name for name in names if table[name].dtype == object]
    return table.assign(**{name: table[name].map(_text) for name in objects})


def _text(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return "; ".join(map(str, value)) or None
    return None if value is None or value is pd.NA else str(value)


def _parquet(table: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    table.to_parquet(file, index=False)
    return file.getvalue()
