"""All that the page shows, as one value that JSON can hold."""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from kdbench.board.diagnostics import KnownByClass
from kdbench.board.frames import Row, first_row, rows_of
from kdbench.board.load import Loaded
from kdbench.board.rows import FRONTS, has_score
from kdbench.render.columns import COSTS, Shown, marked, shown_columns, shown_gap
from kdbench.render.html.details import Sources, rounded, row_details
from kdbench.render.notes import rerun_command, run_facts, unsteady
from kdbench.render.palette import family_looks
from kdbench.utils import formatting
from kdbench.utils.formatting import on_one_line


def page_content(
    rows: pd.DataFrame,
    across: pd.DataFrame,
    loaded: Loaded,
    results: Path,
    known: KnownByClass | None = None,
) -> dict[str, Any]:
    """Return what the page shows; drawing twice gives the same.

    Args:
        rows: the table of rows.
        across: the table over all tasks.
        loaded: the cells that they aggregate, their records and timings.
        results: the folder with their predictions and logs.
        known: what the answers of rows were found to show before; gets what is found now.
    """
    cells = loaded.cells
    sources = Sources(loaded, results, known)
    rows = rows.assign(
        training_cost_s=rows["train_s"] + rows["teacher_s"],
        gap_recovered=pd.Series([shown_gap(row) for row in rows_of(rows)], rows.index, dtype="float64"),
    )
    by_row = _cells_by_row(cells)
    columns = [column for column in shown_columns(rows.columns) if rows[column.name].notna().any()]
    shown = [
        _row(number, row, columns, by_row[row["task"], row["strategy"]], sources)
        for number, row in enumerate(rows_of(rows))
    ]
    families = family_looks(row["family"] for row in shown)
    return {
        "title": f"Leaderboard: budget {cells['budget'].iloc[0]}",
        "model": cells["model"].iloc[0],
        "tasks": [_task(of_task) for _, of_task in cells.groupby("task")],
        "columns": [[column.name, column.heading, column.at_first] for column in columns],
        "costs": [[name, title] for name, title in COSTS.items() if any(c.name == name for c in columns)],
        "families": [[name, look.colour, look.shape] for name, look in families.items()],
        "rows": shown,
        "notes": _notes(rows.columns),
        "facts": [list(fact) for fact in run_facts(cells)],
        "command": "\n".join(rerun_command(cells)),
        "overview": _overview(rows_of(across), shown),
    }


def no_content(title: str) -> dict[str, Any]:
    """Return what a page shows before there is any row."""
    lists = ("tasks", "columns", "costs", "families", "rows", "overview", "facts")
    return {"title": title, "model": "a model", "notes": "", "command": "", **{name: [] for name in lists}}


def _cells_by_row(cells: pd.DataFrame) -> dict[tuple[str, str], list[Row]]:
    ordered = rows_of(cells.sort_values(["task", "strategy", "seed"]))
    groups = groupby(ordered, key=lambda cell: (cell["task"], cell["strategy"]))
    return {place: list(group) for place, group in groups}


def _row(number: int, row: Row, columns: list[Shown], cells: list[Row], sources: Sources) -> dict[str, Any]:
    texts = {column.name: column.text(row) for column in columns}
    if row.get("tied"):
        texts["rank"] += "="
    if not has_score(row):
        texts["score"] = row["status"]
    return {
        "id": number,
        "task": row["task"],
        "strategy": row["strategy"],
        "name": marked(row["strategy"], is_teacher=row["is_teacher"], is_warned=bool(row["warnings"])),
        "family": sources.record(cells[0]["key"]).strategy.family,
        "ok": has_score(row),
        "low": rounded(row["score_low"]),
        "high": rounded(row["score_high"]),
        # What a column is sorted by; where it is no number, the page takes the text.
        "values": [rounded(row[column.name]) for column in columns],
        "texts": list(texts.values()),
        "full": {
            str(place): full
            for place, column in enumerate(columns)
            if (full := column.full_text(row)) != column.text(row)
        },
        "details": row_details(row, cells, sources),
    }


def _task(cells: pd.DataFrame) -> dict[str, Any]:
    cell = first_row(cells)
    majority = cell["majority_score"]
    return {
        "name": cell["task"],
        "metric": cell["metric"],
        "kind": cell["kind"],
        "labels": list(cell["labels"]),
        "about": (
            f"{formatting.sentence(cell['task_title'])} {formatting.plural(cell['scored_examples'], 'example')} of the {cell['scored_split']} split are scored;"
            f" {formatting.plural(cell['train_examples'], 'training example')}."
            + ("" if majority is None else f" The most frequent label scores {formatting.percent(majority)}.")
        ),
        "latency": " ".join(
            formatting.sentence(on_one_line(told))
            for told in [
                *cells["latency_setting"].dropna().unique(),
                *cells["latency_warning"].dropna().unique(),
                unsteady(cells),
            ]
            if told
        )
        or "not measured yet.",
    }


def _notes(names: Collection[str]) -> str:
    """Return what the headings alone do not tell."""
    letters = "; ".join(f"{letter}: {cost}" for letter, cost in FRONTS.items())
    notes = [
        "Rank: rows that are not shown to differ share one (=).",
        f"Front: no other row is better at no more cost ({letters}); what differs by noise alone pushes nobody off.",
        "README.md and the pages beside this one explain every column.",
    ]
    return " ".join(notes if "front" in names else notes[-1:])


def _overview(across: list[Row], shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the strategies with the numbers of their rows, and their averages as `overview_page` has them."""
    places: dict[str, dict[str, int]] = {}
    for drawn in shown:
        places.setdefault(drawn["strategy"], {})[drawn["task"]] = drawn["id"]
    families = {drawn["strategy"]: drawn["family"] for drawn in shown}
    return [
        {
            "strategy": one["strategy"],
            "family": families[one["strategy"]],
            "average_rank": one["average_rank"],
            "average_rank_text": formatting.rank(one["average_rank"]),
            "normalized": one["interquartile_mean"],
            "normalized_text": formatting.with_interval(
                one["interquartile_mean"], one["interquartile_mean_low"], one["interquartile_mean_high"]
            ),
            "rows": places[one["strategy"]],
        }
        for one in across
    ]
