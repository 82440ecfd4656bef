"""All that the page shows, as one value that JSON can hold."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from kdbench.board.columns import ROW_COLUMNS
from kdbench.board.diagnostics import KnownByClass
from kdbench.board.figures import FIGURES, Figure, Group, plugin_figure
from kdbench.board.frames import Row, first_row, rows_of
from kdbench.board.load import Loaded
from kdbench.board.rows import has_score
from kdbench.render.html.details import POINT_HEADINGS, Sources, rounded, row_details
from kdbench.render.notes import rerun_command, run_facts, unsteady
from kdbench.render.palette import family_looks
from kdbench.utils import formatting
from kdbench.utils.formatting import MISSING, on_one_line


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
    by_row = _cells_by_row(cells)
    lines = rows_of(rows)
    figures = _figures(lines)
    shown = [
        _row(number, row, figures, by_row[row["task"], row["strategy"]], sources)
        for number, row in enumerate(lines)
    ]
    families = family_looks(row["family"] for row in shown)
    return {
        "title": f"Leaderboard: budget {cells['budget'].iloc[0]}",
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
        "costs": [[figure.name, figure.axis] for figure in _costs(figures)],
        "families": [[name, look.colour, look.shape] for name, look in families.items()],
        "rows": shown,
        "points": POINT_HEADINGS,
        "notes": _notes(figures),
        "facts": [list(fact) for fact in run_facts(cells)],
        "command": "\n".join(rerun_command(cells)),
        "overview": _overview(rows_of(across), shown),
    }


def no_content(title: str) -> dict[str, Any]:
    """Return what a page shows before there is any row."""
    lists = ("tasks", "columns", "costs", "families", "rows", "overview", "facts", "points")
    return {"title": title, "model": "a model", "notes": "", "command": "", **{name: [] for name in lists}}


def _figures(rows: list[Row]) -> list[Figure]:
    """Return the figures that some of `rows` has; the name of a row is no column of them."""
    plugins = [plugin_figure(name) for name in rows[0] if name not in ROW_COLUMNS]
    return [
        figure
        for figure in [*FIGURES.values(), *plugins]
        if figure.name != "strategy" and any(figure.value(row) is not None for row in rows)
    ]


def _costs(figures: list[Figure]) -> list[Figure]:
    """Return those that quality may be drawn against, latency first."""
    return sorted((one for one in figures if one.axis), key=lambda one: one.group is not Group.SPEED)


def _cells_by_row(cells: pd.DataFrame) -> dict[tuple[str, str], list[Row]]:
    ordered = rows_of(cells.sort_values(["task", "strategy", "seed"]))
    groups = groupby(ordered, key=lambda cell: (cell["task"], cell["strategy"]))
    return {place: list(group) for place, group in groups}


def _row(number: int, row: Row, figures: list[Figure], cells: list[Row], sources: Sources) -> dict[str, Any]:
    texts = [figure.text(row, is_brief=True) or MISSING for figure in figures]
    return {
        "id": number,
        "task": row["task"],
        "strategy": row["strategy"],
        "name": FIGURES["strategy"].text(row),
        "family": sources.record(cells[0]["key"]).strategy.family,
        "ok": has_score(row),
        "low": rounded(row["score_low"]),
        "high": rounded(row["score_high"]),
        # What a column is sorted by; where it is no number, the page takes the text.
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


def _notes(figures: list[Figure]) -> str:
    """Return what the headings alone do not tell."""
    told = [
        f"{figure.heading.capitalize()}: {figure.note}" for figure in figures if figure.group is Group.LEADING
    ]
    return " ".join([*told, "README.md and the pages beside this one explain every column."])


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
