"""Render the page and the data files of the files of answers that were teachers."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from kdbench.board.answers import AnswerTables
from kdbench.board.frames import Row, rows_of
from kdbench.render.markdown import csv_text, markdown, table
from kdbench.utils import formatting
from kdbench.utils.formatting import MISSING

ANSWERS_PAGE = "answers.md"


def answers_files(tables: AnswerTables, budget: str) -> dict[str, str]:
    """Return ``answers.md``, ``answers.csv`` and ``answers-worth.csv`` by file name; `budget` is the whole budget's name."""
    contents, worth = rows_of(tables.contents), rows_of(tables.worth)
    tasks = [
        {
            "name": task,
            "metric": next(row["metric"] for row in contents if row["task"] == task),
            "files": sorted({str(row["file"]) for row in contents if row["task"] == task}),
            "contents": _contents([row for row in contents if row["task"] == task]),
            "worth": _worth([row for row in worth if row["task"] == task]),
        }
        for task in dict.fromkeys(str(row["task"]) for row in contents)
    ]
    has_one_seed = all(row["seeds"] == 1 for row in worth)
    page = markdown("answers", budget=budget, tasks=tasks, has_one_seed=has_one_seed)
    return {
        ANSWERS_PAGE: page,
        "answers.csv": csv_text(tables.contents),
        "answers-worth.csv": csv_text(tables.worth),
    }


def _contents(rows: Sequence[Row]) -> Markup:
    headings = [
        "labelled",
        "of these answered",
        "agreement",
        "unlabelled",
        "of these answered",
        "further texts",
    ]
    headings += ["entropy, bits", "answers", "rows without", "held out"]
    lines = [
        [
            f"{row['train_examples']:,}",
            f"{row['labelled']:,}",
            formatting.percent(row["agreement"]),
            *(f"{row[name]:,}" for name in ("unlabelled_examples", "unlabelled", "further")),
            formatting.three_digits(row["entropy_bits"]),
            *(f"{row[name]:,}" for name in ("answers", "refused", "held_out")),
        ]
        for row in rows
    ]
    return table([(heading, False) for heading in headings], lines)


def _worth(rows: Sequence[Row]) -> Markup:
    has_price = any(row["price"] is not None for row in rows)
    headings = [
        ("row", True),
        ("labels", False),
        ("answers", False),
        ("score", False),
        ("over its control", False),
    ]
    headings += [("labels for the same score", False), ("labels per answer", False)]
    headings += [("price", False), ("per point", False)] if has_price else []
    lines = [
        [
            str(row["strategy"]),
            f"{row['labels']:,}",
            f"{row['answers']:,.0f}",
            formatting.percent(row["score"]),
            _difference(row),
            _labels(row),
            _per_answer(row),
            *([_money(row["price"]), _point(row)] if has_price else []),
        ]
        for row in rows
    ]
    return table(headings, lines)


def _difference(row: Row) -> str:
    if row["difference"] is None:
        return MISSING
    low, high = formatting.difference(row["difference_low"]), formatting.difference(row["difference_high"])
    return f"{formatting.difference(row['difference'])} [{low}, {high}]"


def _labels(row: Row) -> str:
    """Return the labels with which the control scores as much, with their interval, whose ends may lie beyond the counts."""
    if row["reached"] is None:
        return MISSING
    low, high = (
        _bound(row[f"equivalent_labels_{end}"], _beyond(row, end, f"{row['fewest']:,}", f"{row['most']:,}"))
        for end in ("low", "high")
    )
    return f"{_equivalent(row)} [{low}, {high}]"


def _equivalent(row: Row) -> str:
    if not row["reached"]:
        return f"not reached with {row['most']:,}"
    return _bound(row["equivalent_labels"], f"{row['fewest']:,} or fewer")


def _bound(count: float | None, beyond: str) -> str:
    return beyond if count is None else f"{float(f'{count:.2g}'):,.0f}"


def _per_answer(row: Row) -> str:
    if row["reached"] is None:
        return MISSING
    below, above = (_two_digits((row[end] - row["labels"]) / row["answers"]) for end in ("fewest", "most"))
    low, high = (
        _worth_of(row[f"labels_per_answer_{end}"], _beyond(row, end, below, above)) for end in ("low", "high")
    )
    beyond = f"{below} or less" if row["reached"] else f"above {above}"
    return f"{_worth_of(row['labels_per_answer'], beyond)} [{low}, {high}]"


def _beyond(row: Row, end: str, fewest: str, most: str) -> str:
    """Return where an end of an interval lies that is beyond the counts that were run: below the fewest or above the most."""
    return f"below {fewest}" if row[f"reached_{end}"] else f"above {most}"


def _worth_of(value: float | None, beyond: str) -> str:
    return beyond if value is None else _two_digits(value)


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.2g}'):g}"


def _money(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.2f}"


def _point(row: Row) -> str:
    if row["difference"] is None:
        return MISSING
    if row["price_per_point"] is None:
        return "no gain"
    least = _money(row["price"] / (100 * row["difference_high"]))
    most = _money(row["price"] / (100 * row["difference_low"])) if row["difference_low"] > 0 else "no limit"
    return f"{_money(row['price_per_point'])} [{least}, {most}]"
