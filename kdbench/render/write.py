"""Write the board of a results folder as files."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pandas as pd

from kdbench.api.metric import Metric
from kdbench.board.answers import answer_tables
from kdbench.board.columns import CSV_CELL_COLUMNS, ROW_COLUMNS
from kdbench.board.curves import curve_points
from kdbench.board.diff import Against, Changes, changes
from kdbench.board.labels import counts_by_task, label_tables
from kdbench.board.load import load_cells
from kdbench.board.parallel import spread
from kdbench.board.sources import Source, read_results
from kdbench.board.statistics import MARGIN, Known
from kdbench.board.tables import Tables, board_tables
from kdbench.budgets import LabelCount
from kdbench.errors import KdbenchError
from kdbench.evaluation.metrics import METRICS
from kdbench.render.answers import ANSWERS_PAGE, answers_files
from kdbench.render.diff import changes_files
from kdbench.render.html.content import page_content
from kdbench.render.html.page import PAGE, html_page
from kdbench.render.labels import LABELS_PAGE, labels_files
from kdbench.render.markdown import csv_text
from kdbench.render.overview_page import overview_page
from kdbench.render.published import published_section
from kdbench.render.task_page import task_page
from kdbench.results.paths import RECORDS_FILE
from kdbench.results.records import Record
from kdbench.utils.files import write_atomically
from kdbench.utils.formatting import listing
from kdbench.utils.system import gc_paused, usable_cores

CURVES_FILE = "curves.csv"
LOADS_FILE = "serving.csv"


def data_files(rows: pd.DataFrame, tables: Tables, records: Iterable[Record]) -> dict[str, str | bytes]:
    """Return the contents of the data files by file name; `rows` are those of `tables` with the columns of plugins.

    ``<task>.csv`` and ``rows.parquet`` hold the table of rows, ``cells.csv`` and ``cells.parquet`` one line per
    strategy, task and seed, ``latency.csv`` one per latency point, ``overview.csv`` one per strategy, ``serving.csv`` one per load
    of requests, if any was measured, ``curves.csv`` one per
    validation during training, if there were any. Columns of CSV files may be added, but not renamed or removed; Parquet
    files have all columns. ``records.jsonl`` holds all `records`, those of `tables` and of label counts, ordered by key.
    """
    cells = tables.cells
    measured = _as_text(cells[list(CSV_CELL_COLUMNS)])
    # Unconverted, Parquet would store a column per library that any machine lists, and fail where none does.
    runtimes = cells["latency_runtimes"].map(listing, na_action="ignore")
    in_columns = _as_text(cells.assign(latency_runtimes=runtimes), ("labels", "warnings"))
    in_order = sorted(records, key=lambda record: record.key)
    own = set(cells["key"])
    curves = curve_points(record for record in in_order if record.key in own)
    return {
        **{f"{task}.csv": csv_text(of_task) for task, of_task in rows.groupby("task")},
        "cells.csv": csv_text(measured),
        "latency.csv": csv_text(tables.points),
        "overview.csv": csv_text(tables.across),
        **({} if tables.loads.empty else {LOADS_FILE: csv_text(tables.loads)}),
        **({} if curves.empty else {CURVES_FILE: csv_text(curves)}),
        "rows.parquet": _parquet(_as_text(rows, (name for name in rows.columns if name not in ROW_COLUMNS))),
        "cells.parquet": _parquet(in_columns),
        RECORDS_FILE: "".join(f"{record.model_dump_json()}\n" for record in in_order),
    }


def _as_text(table: pd.DataFrame, names: Iterable[str] = ("warnings",)) -> pd.DataFrame:
    """Return `table` with the lists and other objects in the columns `names` as text."""
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


def drawn_paths(board: Path, drawn: Iterable[str]) -> frozenset[str]:
    """Return the paths of pages and pictures: those `drawn` now, and those already in the folder `board`."""
    pages = (board / PAGE, board / LABELS_PAGE)
    earlier = [path for path in (*pages, *board.glob("pictures/*.png")) if path.is_file()]
    return frozenset(drawn) | {path.relative_to(board).as_posix() for path in earlier}


_MANY_RECORDS, MANY_TASKS = 2000, 6
"""Below both, starting processes costs more time than it saves."""
_MOST_JOBS = 4
"""Each process takes about 200 MB and two seconds to start."""
_DRAWING = "kdbench.render.plots.draw"
"""The module that processes import; it imports all that statistics need, too."""

PluginColumns = Callable[[pd.DataFrame], Iterable[pd.DataFrame | None]]
"""Gets the table of rows and returns frames of additional columns with the same index."""


@dataclass(frozen=True)
class BoardSummary:
    """What `write_board` wrote, the tables it was drawn from, and a line per file or record that was left out."""

    written: tuple[Path, ...]
    rows: pd.DataFrame
    problems: tuple[str, ...]
    cells: pd.DataFrame
    """The table of cells that `rows` aggregates."""
    changes: Changes | None = None
    """What changed since older records, if the board was compared with some."""


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
    labels: Sequence[LabelCount] = (),
    margin: float = MARGIN,
    price: float | None = None,
) -> BoardSummary:
    """Write the pages ``README.md`` and ``<task>.md`` and the files of `data_files` into the folder `board`.

    Where there are records of the budget's label counts, and no cell is pending, the files of `labels_files`, too.

    Args:
        results: the folder with the records, timings and predictions, or what was read from several.
        board: the folder to write into; files of the same names are replaced, others are kept.
        budget: the name of the budget whose records are shown.
        model: the base model's name or the SHA-256 of its weights; by default that of the newest record.
        keys: the cells to show; by default all.
        columns: additional columns of plugins.
        pending: strategy and task of each cell that has not ended yet.
        known: results of earlier calls to reuse; a call computes only what has changed, and adds it.
        papers: whether a task's page also shows published results.
        cache: the folder to cache JavaScript libraries in; with it, ``index.html`` and the pictures are drawn, too,
            which takes seconds per task; without it, existing ones are left unchanged.
        against: older records to compare with, for ``changes.md`` and ``changes.csv``.
        metrics: the registered metrics, plugins' included; by default only the built-in ones.
        labels: the label counts to compare; by default all that there are.
        margin: the difference of scores, as a fraction, below which a row counts as no loss.
        price: of one answer, where the teacher is a file of answers.

    Raises:
        UsageError: there is no record to show, or none to compare with.
        KdbenchError: a file cannot be written.
    """
    source = results if isinstance(results, Source) else read_results(results)
    known = Known() if known is None else known
    files: dict[str, str | bytes] = {}
    jobs = _jobs(source, known, with_pictures=cache is not None)
    loading = spread(import_module, [_DRAWING] * jobs, jobs) if jobs > 1 else ()  # in the background
    with gc_paused():
        loaded = load_cells(source, budget=budget, model=model, keys=keys, metrics=metrics)
        many = len(source.records) >= _MANY_RECORDS
        tables = board_tables(loaded, source.root, known, jobs if many else 1, margin)
        weights = loaded.records[0].model.weights_sha256
        labelled = (
            label_tables(
                source, budget=budget, model=weights, counts=labels, known=known.answers, metrics=metrics
            )
            if not pending and keys is None
            else None
        )
        if labelled is not None:
            answers = answer_tables(labelled.counts, labelled.records, price)
        elif any(record.model.answers for record in loaded.records):
            answers = answer_tables(
                counts_by_task([loaded], source, known.answers, []), loaded.records, price
            )
        else:
            answers = None
    rows, cells = tables.rows, tables.cells
    rows, column_problems = _with_plugin_columns(rows, columns) if columns else (rows, [])
    if cache is None:
        pictures: Iterable[dict[str, bytes]] = ()
    else:
        from kdbench.render.plots.draw import draw, planned, planned_labels

        of_labels = planned_labels(labelled) if labelled else []
        pictures = spread(draw, [*planned(rows, loaded), *of_labels], jobs)
        content = page_content(rows, tables.across, loaded, source.root, known.by_class)
        files[PAGE] = html_page(content, cache)
    shown = {record.key: record for record in (*loaded.records, *(labelled.records if labelled else ()))}
    files |= data_files(rows, tables, shown.values())
    for picture in pictures:
        files |= picture
    list(loading)
    changed = None if against is None else changes(against, loaded, source.root, known.answers, margin)
    # While cells are pending, pictures of an earlier run do not match the new tables.
    drawn = frozenset[str]() if pending else drawn_paths(board, files)
    if labelled is not None:
        files |= labels_files(labelled, budget, drawn)
        drawn |= {LABELS_PAGE}
    if answers is not None:
        files |= answers_files(answers, budget)
        drawn |= {ANSWERS_PAGE}
    files |= _task_pages(rows, tables, pending, drawn, papers=papers)
    files["README.md"] = overview_page(
        rows, cells, tables.across, len(pending), loaded.left_out, len(loaded.unreadable), changed, drawn
    )
    if changed is not None:
        files |= changes_files(changed)
    written = tuple(write_file(board / name, content) for name, content in files.items())
    problems = (
        *loaded.unreadable,
        *loaded.left_out,
        *(labelled.left_out if labelled else ()),
        *column_problems,
    )
    return BoardSummary(written, rows, tuple(dict.fromkeys(problems)), cells, changed)


def _task_pages(
    rows: pd.DataFrame,
    tables: Tables,
    pending: Sequence[tuple[str, str]],
    drawn: frozenset[str],
    *,
    papers: bool,
) -> dict[str, str]:
    """Return the page of each task by file name; `rows` are those of `tables` with the columns of plugins."""
    waiting = Counter(task for _, task in pending)
    pages = {}
    for task, of_task in rows.groupby("task"):
        own = tables.cells[tables.cells["task"] == task]
        pages[f"{task}.md"] = task_page(
            of_task,
            own,
            tables.points[tables.points["task"] == task],
            tables.statistics[str(task)],
            tables.loads[tables.loads["task"] == task],
            waiting[str(task)],
            published_section(of_task, own) if papers else "",
            drawn,
        )
    return pages


def _jobs(source: Source, known: Known, *, with_pictures: bool) -> int:
    """Return the number of processes that pays off for a board of `source`; 1 is the current process alone."""
    many_records = len(source.records) >= _MANY_RECORDS
    many_pictures = len({record.task.name for record in source.records}) >= MANY_TASKS or many_records
    worth_it = many_pictures if with_pictures else many_records and not known.answers
    return min(usable_cores(), _MOST_JOBS) if worth_it else 1


def _with_plugin_columns(rows: pd.DataFrame, columns: PluginColumns) -> tuple[pd.DataFrame, list[str]]:
    problems = []
    # A copy: a plugin must not change the board's table.
    for added in columns(rows.copy()):
        if added is None:
            continue
        problem = _column_problem(rows, added)
        if problem is None:
            rows = rows.join(added.rename(columns=str))
        else:
            problems.append(f"left out a plugin's columns for the board: {problem}")
    return rows, problems


def _column_problem(rows: pd.DataFrame, added: object) -> str | None:
    """Return why the columns `added` cannot be joined to `rows`, or None if they can."""
    if not isinstance(added, pd.DataFrame):
        return f"kdbench_board_columns must return a DataFrame or None, not {type(added).__name__}"
    names = [str(name) for name in added.columns]
    if not added.index.is_unique or set(added.index) != set(rows.index):
        return f"{', '.join(names)}: the index is not that of the table"
    taken = sorted({name for name in names if name in rows.columns or names.count(name) > 1})
    return f"{', '.join(taken)}: taken by another column; choose another name" if taken else None


def write_file(path: Path, content: str | bytes) -> Path:
    """Write one file of a board and return its path.

    Raises:
        KdbenchError: it cannot be written.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise KdbenchError(
            f"cannot write the board's {path} ({error.strerror}); make room or name another folder with --board"
        ) from error
    return path
