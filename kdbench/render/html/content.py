"""Collect the content of the HTML page as one JSON-serializable value."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from kdbench.board.columns import ROW_COLUMNS
from kdbench.board.diagnostics import KnownByClass
from kdbench.board.figures import FIGURES, Figure, Group, plugin_figure
from kdbench.board.frames import Row, first_row, rows_of
from kdbench.board.load import Loaded
from kdbench.board.rows import has_score
from kdbench.render.html.details import LOAD_HEADINGS, POINT_HEADINGS, Sources, rounded, row_details
from kdbench.render.notes import ONE_SEED, is_of_one_seed, rerun_command, run_facts, unstable_timings
from kdbench.render.palette import family_looks
from kdbench.utils import formatting
from kdbench.utils.formatting import MISSING, on_one_line, plural, sentence


def page_content(
    rows: pd.DataFrame, across: pd.DataFrame, loaded: Loaded, results: Path, known: KnownByClass | None = None
) -> dict[str, Any]:
    """Return the content of the page; it is deterministic.

    The tables `rows` and `across` are those of the cells in `loaded`, whose predictions and logs are in the folder
    `results`; `known` has results by class computed earlier, to which new ones are added.
    """
    cells = loaded.cells
    sources = Sources(loaded, results, known)
    ordered = rows_of(cells.sort_values(["task", "strategy", "seed"]))
    by_row = {place: list(own) for place, own in groupby(ordered, key=itemgetter("task", "strategy"))}
    lines = rows_of(rows)
    figures = _figures(lines)
    shown = [
        _row(number, row, figures, by_row[row["task"], row["strategy"]], sources)
        for number, row in enumerate(lines)
    ]
    families = family_looks(row["family"] for row in shown)
    costs = [figure for figure in figures if figure.axis]
    costs.sort(key=lambda figure: figure.group is not Group.SPEED)  # latency first
    return {
        "title": f"Leaderboard: budget {cells['budget'].iloc[0]}"
        + (f". {ONE_SEED}" if is_of_one_seed(rows) else ""),
        "model": cells["model"].iloc[0],
        "tasks": [_task(of_task) for _, of_task in cells.groupby("task")],
        "columns": [
            {
                "name": figure.name,
                "heading": figure.heading,
                "note": figure.note,
                "isShownFirst": figure.is_shown_first,
                "isLowerBetter": bool(figure.is_lower_better),
            }
            for figure in figures
        ],
        "costs": [[figure.name, figure.axis] for figure in costs],
        "families": [[name, look.colour, look.shape] for name, look in families.items()],
        "rows": shown,
        "points": POINT_HEADINGS,
        "loads": LOAD_HEADINGS,
        "notes": _notes(figures),
        "facts": [list(fact) for fact in run_facts(cells)],
        "command": "\n".join(rerun_command(cells)),
        "overview": _overview(rows_of(across), shown),
    }


def no_content(title: str) -> dict[str, Any]:
    """Return the content of a page without rows."""
    lists = ("tasks", "columns", "costs", "families", "rows", "overview", "facts", "points", "loads")
    return {"title": title, "model": "a model", "notes": "", "command": "", **{name: [] for name in lists}}


def _figures(rows: list[Row]) -> list[Figure]:
    """Return the figures with a value in any of `rows`, without the strategy's name."""
    plugins = [plugin_figure(name) for name in rows[0] if name not in ROW_COLUMNS]
    return [
        figure
        for figure in [*FIGURES.values(), *plugins]
        if figure.name != "strategy" and any(figure.value(row) is not None for row in rows)
    ]


def _row(number: int, row: Row, figures: list[Figure], cells: list[Row], sources: Sources) -> dict[str, Any]:
    texts = [figure.text(row, is_brief=True) or MISSING for figure in figures]
    return {
        "id": number,
        "task": row["task"],
        "strategy": row["strategy"],
        "name": FIGURES["strategy"].text(row),
        "family": sources.records[cells[0]["key"]].strategy.family,
        "ok": has_score(row),
        "low": rounded(row["score_low"]),
        "high": rounded(row["score_high"]),
        # Sort keys; where a value is not a number, the page sorts by its text.
        "values": [rounded(figure.value(row)) for figure in figures],
        "texts": texts,
        "full": {
            str(place): full
            for place, (figure, text) in enumerate(zip(figures, texts, strict=True))
            if (full := figure.text(row) or MISSING) != text
        },
        "details": row_details(row, cells, sources),
    }


def _task(cells: pd.DataFrame) -> dict[str, Any]:
    cell = first_row(cells)
    majority = cell["majority_score"]
    about = (
        f"{sentence(cell['task_title'])} {plural(cell['scored_examples'], 'example')} of the {cell['scored_split']} split"
        f" are scored; {plural(cell['train_examples'], 'training example')}."
    )
    if majority is not None:
        about += f" The most frequent label scores {formatting.percent(majority)}."
    settings = [*cells["latency_setting"].dropna().unique(), *cells["latency_warning"].dropna().unique()]
    latency = [sentence(on_one_line(text)) for text in (*settings, unstable_timings(cells)) if text]
    return {
        "name": cell["task"],
        "metric": cell["metric"],
        "kind": cell["kind"],
        "labels": list(cell["labels"]),
        "about": about,
        "latency": " ".join(latency) or "not measured yet.",
    }


def _notes(figures: list[Figure]) -> str:
    """Return the notes on the leading columns."""
    notes = [
        f"{figure.heading.capitalize()}: {figure.note}" for figure in figures if figure.group is Group.LEADING
    ]
    return " ".join([*notes, "README.md and the task pages in the same folder explain every column."])


def _overview(across: list[Row], shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return per strategy the ids of its rows and the averages that `overview_page` shows."""
    row_ids: dict[str, dict[str, int]] = {}
    for row in shown:
        row_ids.setdefault(row["strategy"], {})[row["task"]] = row["id"]
    families = {row["strategy"]: row["family"] for row in shown}
    return [
        {
            "strategy": averages["strategy"],
            "family": families[averages["strategy"]],
            "average_rank": averages["average_rank"],
            "average_rank_text": formatting.rank(averages["average_rank"]),
            "normalized": averages["interquartile_mean"],
            "normalized_text": formatting.with_interval(
                averages["interquartile_mean"],
                averages["interquartile_mean_low"],
                averages["interquartile_mean_high"],
            ),
            "worst": averages["worst_normalized"],
            "worst_text": formatting.score_on(averages["worst_normalized"], averages["worst_task"]),
            "rows": row_ids[averages["strategy"]],
        }
        for averages in across
    ]
