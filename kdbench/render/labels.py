"""Render the page and the data files of the label counts."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from kdbench.board.crossings import differences_text
from kdbench.board.frames import Row, rows_of
from kdbench.board.labels import LabelTables
from kdbench.render.markdown import csv_text, images, markdown, score_or_status, table
from kdbench.utils import formatting
from kdbench.utils.formatting import MISSING

LABELS_PAGE = "labels.md"


def labels_files(tables: LabelTables, budget: str, drawn: Collection[str]) -> dict[str, str]:
    """Return ``labels.md``, ``labels.csv`` and ``crossings.csv`` by file name.

    Args:
        tables: what they show.
        budget: the name of the whole budget.
        drawn: the paths of the pictures in the board's folder.
    """
    tasks = [
        _task(str(task), scores, tables.crossings[tables.crossings["task"] == task], drawn)
        for task, scores in tables.scores.groupby("task")
    ]
    newest = max(tables.records, key=lambda record: record.finished_at)
    page = markdown(
        "labels",
        budget=budget,
        model=newest.model.name,
        teacher_factor=formatting.plain(newest.budget.teacher_factor),
        patience=newest.budget.patience,
        external=sorted({record.model.teacher for record in tables.records if record.model.teacher}),
        has_answers=any(record.model.answers for record in tables.records),
        has_one_seed=bool((tables.scores["seeds"] == 1).all()),
        tasks=tasks,
        left_out=list(tables.left_out),
    )
    return {
        LABELS_PAGE: page,
        "labels.csv": csv_text(tables.scores),
        "crossings.csv": csv_text(tables.crossings),
    }


def _task(task: str, scores: pd.DataFrame, crossings: pd.DataFrame, drawn: Collection[str]) -> dict[str, Any]:
    rows, pairs = rows_of(scores), rows_of(crossings)
    counts = sorted({row["labels"] for row in rows})
    metric = rows[0]["metric"]
    return {
        "name": task,
        "metric": metric,
        "counts": _counts(rows, counts),
        "pictures": images(drawn, [(f"labels-{task}", f"{metric} by labelled training examples")]),
        "scores": _scores(rows, counts),
        "crossings": _crossings(pairs, counts) if pairs else None,
        "overtaking": [_sentence(pair, counts) for pair in pairs if _is_shown_to_overtake(pair)],
    }


def _counts(rows: Sequence[Row], counts: Sequence[int]) -> Markup:
    lines = []
    for count in counts:
        row = next(row for row in rows if row["labels"] == count)
        whole = count + row["validation_examples"]
        batch = min(row["batch_size"], count)
        passes = row["steps"] / math.ceil(count / batch)
        steps = f"{row['steps']:,} x {batch}"
        labels = [f"{number:,}" for number in (count, row["validation_examples"], whole)]
        lines.append([*labels, steps, formatting.plain(passes)])
    headings = ["labelled for training", "for validation", "labels in all", "steps x batch", "passes"]
    return table([(heading, False) for heading in headings], lines)


def _scores(rows: Sequence[Row], counts: Sequence[int]) -> Markup:
    """Return the table of scores by count, the best at the largest count first."""
    by_row: dict[str, dict[int, Row]] = {}
    for row in rows:
        by_row.setdefault(str(row["strategy"]), {})[row["labels"]] = row

    def from_the_largest(row: str) -> list[float]:
        scores = [by_row[row].get(count, {}).get("score") for count in reversed(counts)]
        return [1.0 if score is None else -score for score in scores]

    order = sorted(by_row, key=lambda row: (from_the_largest(row), row))
    lines = [
        [
            f"{row} (teacher)" if any(cell["is_teacher"] for cell in by_row[row].values()) else row,
            *(_score(by_row[row].get(count)) for count in counts),
        ]
        for row in order
    ]
    best = set()
    for place, count in enumerate(counts, start=1):
        known = {i: by_row[row].get(count, {}).get("score") for i, row in enumerate(order)}
        values = {i: value for i, value in known.items() if value is not None}
        if len(set(values.values())) > 1:
            best |= {(i, place) for i, value in values.items() if value == max(values.values())}
    return table([("strategy", True), *((f"{count:,}", False) for count in counts)], lines, best)


def _score(row: Row | None) -> str:
    if row is None:
        return MISSING
    if row["score"] is None:
        return score_or_status(row)
    return formatting.with_interval(row["score"], row["score_low"], row["score_high"])


def _crossings(pairs: Sequence[Row], counts: Sequence[int]) -> Markup:
    """Return the table of pairs, those that are shown to overtake first."""
    headings = [("row", True), ("compared with", True), *((f"{count:,}", False) for count in counts)]
    headings += [("tests", True), ("leads after the last crossing", True), ("at", False), ("share", False)]
    ordered = sorted(pairs, key=lambda pair: not _is_shown_to_overtake(pair))
    lines = []
    for pair in ordered:
        differences = differences_text(pair)
        lines.append(
            [
                pair["strategy"],
                f"{pair['other']} ({pair['relation']})",
                *(differences.get(count, MISSING) for count in counts),
                pair["verdict"],
                _leader(pair),
                _place(pair, counts),
                formatting.share(pair["share"]),
            ]
        )
    return table(headings, lines)


def _leader(pair: Row) -> str:
    if not pair["changes"]:
        return MISSING
    several = f" ({pair['changes']} crossings)" if pair["changes"] > 1 else ""
    return f"{pair['leader']}{several}"


def _place(pair: Row, counts: Sequence[int]) -> str:
    """Return the count of the last crossing with its interval, whose ends may lie beyond the counts that were run."""
    if pair["crossing"] is None:
        return MISSING
    low = f"below {counts[0]:,}" if pair["crossing_low"] is None else _number(pair["crossing_low"])
    high = f"above {counts[-1]:,}" if pair["crossing_high"] is None else _number(pair["crossing_high"])
    return f"{_number(pair['crossing'])} [{low}, {high}]"


def _number(count: float) -> str:
    """Return a label count with two significant digits, since more are not known."""
    return f"{float(f'{count:.2g}'):,.0f}"


def _is_shown_to_overtake(pair: Row) -> bool:
    """Return whether the tests find a row ahead at one count and behind at another."""
    return "ahead" in pair["verdict"] and "behind" in pair["verdict"]


def _sentence(pair: Row, counts: Sequence[int]) -> str:
    loser = pair["other"] if pair["leader"] == pair["strategy"] else pair["strategy"]
    return f"{pair['leader']} overtakes {loser} at {_place(pair, counts)} labels"
