"""The board of a results folder, written as files."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pandas as pd

from kdbench.api.metric import Metric
from kdbench.board.columns import CSV_CELL_COLUMNS, ROW_COLUMNS
from kdbench.board.diff import Against, Changes, changes
from kdbench.board.load import cells_of
from kdbench.board.parallel import spread
from kdbench.board.sources import Source, read_results
from kdbench.board.statistics import Known
from kdbench.board.tables import Tables, board_tables
from kdbench.errors import KdbenchError
from kdbench.evaluation.metrics import METRICS
from kdbench.render.diff import changes_files
from kdbench.render.html.page import PAGE, page
from kdbench.render.markdown import csv_text
from kdbench.render.overview_page import overview_page
from kdbench.render.published import published_section
from kdbench.render.task_page import task_page
from kdbench.results.paths import RECORDS_FILE
from kdbench.results.records import Record
from kdbench.utils.files import write_atomically
from kdbench.utils.formatting import listing
from kdbench.utils.system import no_collecting, usable_cores


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
    measured = _as_text(cells[list(CSV_CELL_COLUMNS)])
    # As they are, Parquet would store a column for every library that any machine names, and fails where none does.
    runtimes = cells["latency_runtimes"].map(listing, na_action="ignore")
    in_columns = _as_text(cells.assign(latency_runtimes=runtimes), ("labels", "warnings"))
    in_order = sorted(records, key=lambda record: record.key)
    return {
        **{f"{task}.csv": csv_text(of_task) for task, of_task in rows.groupby("task")},
        "cells.csv": csv_text(measured),
        "latency.csv": csv_text(tables.points),
        "overview.csv": csv_text(tables.across),
        "rows.parquet": _parquet(_as_text(rows, (name for name in rows.columns if name not in ROW_COLUMNS))),
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


def drawn_names(board: Path, drawn: Iterable[str]) -> frozenset[str]:
    """Return the paths of what pages may show: all that is `drawn` now, and what earlier drawings left in `board`."""
    earlier = [path for path in (board / PAGE, *board.glob("pictures/*.png")) if path.is_file()]
    return frozenset(drawn) | {path.relative_to(board).as_posix() for path in earlier}


_MANY_RECORDS, _MANY_TASKS = 2000, 6
"""With fewer of both, processes cost more than they gain."""
_MOST_JOBS = 4
"""Each takes some 200 MB and loads for two seconds."""
_DRAWING = "kdbench.render.plots.draw"
"""With all that statistics need."""

PluginColumns = Callable[[pd.DataFrame], Iterable[pd.DataFrame | None]]
"""Gets the table of rows and returns frames of further columns, a row for each of its rows (same index)."""


@dataclass(frozen=True)
class BoardSummary:
    """What `write_board` wrote, drawn from which table, and a line for each file or record that was left out."""

    written: tuple[Path, ...]
    rows: pd.DataFrame
    problems: tuple[str, ...]
    cells: pd.DataFrame
    """The table of cells that `rows` aggregates."""
    changes: Changes | None = None
    """What became of the rows of older records, where the board was held against some."""


def write_board(
    results: Path | Source,
    board: Path,
    *,
    budget: str,
    model: str | None = None,
    keys: Collection[str] | None = None,
    columns: PluginColumns | None = None,
    pending: Sequence[tuple[str, str]] = (),
    known: Known | None = None,
    papers: bool = False,
    cache: Path | None = None,
    against: Against | None = None,
    metrics: Mapping[str, Metric] = METRICS,
) -> BoardSummary:
    """Write the pages ``README.md`` and ``<task>.md`` and the files of `data_files` into the folder `board`.

    Args:
        results: the folder with the records, timings and predictions, or what was read of several.
        board: the folder to write into; files of the same names are replaced, others are left alone.
        budget: the name of the budget whose records are shown.
        model: the base model's name or the SHA-256 of its weights; by default that of the newest record.
        keys: the cells to show; by default all.
        columns: further columns that plugins bring.
        pending: strategy and task of each cell that has not ended yet.
        known: what earlier calls computed; given again, a call computes only what has changed.
        papers: whether a task's page shows published results, too.
        cache: with this folder to keep their libraries in, the page ``index.html`` and the pictures are drawn, too,
            which takes seconds a task; without it, they are left as they are.
        against: older records, to write into ``changes.md`` and ``changes.csv`` what became of their rows.
        metrics: the registered ones, plugins' included; by default kdbench's own alone.

    Raises:
        UsageError: there is no record to show, or none to hold them against.
        KdbenchError: a file cannot be written.
    """
    source = results if isinstance(results, Source) else read_results(results)
    known = Known() if known is None else known
    files: dict[str, str | bytes] = {}
    jobs = _jobs(source, known, with_pictures=cache is not None)
    loading = spread(import_module, [_DRAWING] * jobs, jobs) if jobs > 1 else ()  # meanwhile
    with no_collecting():
        loaded = cells_of(source, budget=budget, model=model, keys=keys, metrics=metrics)
        many = len(source.records) >= _MANY_RECORDS
        tables = board_tables(loaded, source.root, known, jobs if many else 1)
    rows, cells = tables.rows, tables.cells
    misfits: list[str] = []
    if columns is not None:
        rows, misfits = _with_plugin_columns(rows, columns)
    if cache is None:
        pictures: Iterable[dict[str, bytes]] = ()
    else:
        from kdbench.render.plots.draw import draw, planned

        pictures = spread(draw, planned(rows, loaded), jobs)
        files[PAGE] = page(rows, tables.across, loaded, source.root, cache, known.by_class)
    files |= data_files(rows, tables, loaded.records)
    for picture in pictures:
        files |= picture
    list(loading)
    changed = None if against is None else changes(against, loaded, source.root, known.answers)
    waiting = Counter(task for _, task in pending)
    # While cells are missing, what an earlier run drew is not what its tables say.
    drawn = frozenset[str]() if pending else drawn_names(board, files)
    for task, of_task in rows.groupby("task"):
        own = cells[cells["task"] == task]
        files[f"{task}.md"] = task_page(
            of_task,
            own,
            tables.points[tables.points["task"] == task],
            tables.statistics[str(task)],
            waiting[str(task)],
            published_section(of_task, own) if papers else "",
            drawn,
        )
    files["README.md"] = overview_page(
        rows, cells, tables.across, len(pending), loaded.left_out, len(loaded.unreadable), changed, drawn
    )
    if changed is not None:
        files |= changes_files(changed)
    written = tuple(_write(board / name, content) for name, content in files.items())
    return BoardSummary(written, rows, (*loaded.unreadable, *loaded.left_out, *misfits), cells, changed)


def _jobs(source: Source, known: Known, *, with_pictures: bool) -> int:
    """Return how many processes are worth starting for a board of `source`; 1 is this one alone."""
    many_records = len(source.records) >= _MANY_RECORDS
    many_pictures = len({record.task.name for record in source.records}) >= _MANY_TASKS or many_records
    worth_it = many_pictures if with_pictures else many_records and not known.answers
    return min(usable_cores(), _MOST_JOBS) if worth_it else 1


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


def _write(path: Path, content: str | bytes) -> Path:
    try:
        write_atomically(path, content)
    except OSError as error:
        raise KdbenchError(
            f"cannot write the board's {path} ({error.strerror}); make room or name another folder with --board"
        ) from error
    return path
