"""Compare the rows of a board at several label counts: their scores, and where one overtakes another."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pandas as pd

from kdbench.api.metric import Metric
from kdbench.board.columns import CROSSING_COLUMNS, LABEL_COLUMNS
from kdbench.board.crossings import AtCount, pair_line, pairs_of
from kdbench.board.frames import Row, rows_of
from kdbench.board.load import Loaded, load_cells
from kdbench.board.predictions import KnownAnswers, TaskAnswers
from kdbench.board.sources import Source
from kdbench.budgets import LabelCount, split_label_count
from kdbench.evaluation.metrics import METRICS
from kdbench.results.records import Record, Status
from kdbench.utils.formatting import on_one_line, plural


@dataclass(frozen=True, eq=False)
class LabelTables:
    """The rows of one budget at several label counts."""

    scores: pd.DataFrame
    """One row per task, strategy and count, in ascending order of counts; `LABEL_COLUMNS`."""
    crossings: pd.DataFrame
    """One row per compared pair of a task; `CROSSING_COLUMNS`."""
    counts: Mapping[str, Sequence[AtCount]]
    """By task, the rows at each count, the fewest labels first."""
    records: tuple[Record, ...]
    left_out: tuple[str, ...]
    """One line per part of the records that is not in the tables."""


def label_budgets(records: Iterable[Record], budget: str) -> dict[LabelCount, str]:
    """Return the names of `budget` and of its label counts that `records` have, by ascending count, the whole one last."""
    names = {record.budget.name for record in records}
    counts = sorted((count, name) for name in names if (count := _count_of(name, budget)) is not None)
    return {**dict(counts), **({"all": budget} if budget in names else {})}


def _count_of(name: str, budget: str) -> int | None:
    whole, count = split_label_count(name)
    return count if whole == budget else None


def load_label_counts(
    source: Source,
    *,
    budget: str,
    model: str | None = None,
    counts: Sequence[LabelCount] = (),
    metrics: Mapping[str, Metric] = METRICS,
) -> list[Loaded]:
    """Return the cells of each label count of `budget` in `source`, the whole budget last; none without a smaller count.

    The settings are those of `label_tables`.
    """
    names = [
        name for count, name in label_budgets(source.records, budget).items() if not counts or count in counts
    ]
    records = [
        record
        for record in source.records
        if record.budget.name in names
        and (model is None or model in (record.model.name, record.model.weights_sha256))
    ]
    if all(record.budget.name == budget for record in records):
        return []
    weights = max(records, key=lambda record: (record.finished_at, record.key)).model.weights_sha256
    there = {record.budget.name for record in records if record.model.weights_sha256 == weights}
    return [
        load_cells(source, budget=name, model=weights, metrics=metrics) for name in names if name in there
    ]


def label_tables(
    source: Source,
    *,
    budget: str,
    model: str | None = None,
    counts: Sequence[LabelCount] = (),
    known: KnownAnswers | None = None,
    metrics: Mapping[str, Metric] = METRICS,
) -> LabelTables | None:
    """Return the tables of the label counts of `budget` in `source`; None if it has none but the whole budget.

    Args:
        source: what was read of a results folder, or of several.
        budget: the name of the whole budget.
        model: the base model's name or the SHA-256 of its weights; by default that of the newest record of any count.
        counts: the counts to show; by default all that there are.
        known: cached answers, to which new ones are added.
        metrics: the registered metrics.
    """
    found = load_label_counts(source, budget=budget, model=model, counts=counts, metrics=metrics)
    if not found:
        return None
    left_out = [line for loaded in found for line in loaded.left_out]
    counts_of = counts_by_task(found, source, {} if known is None else known, left_out)
    scores, crossings = [], []
    for task, at_counts in counts_of.items():
        left_out += [f"{task} at {at.labels:,} labels: {line}" for at in at_counts for line in at.problems]
        scores += [line for at in at_counts for line in _score_lines(at)]
        crossings += [line for pair in pairs_of(at_counts) if (line := pair_line(task, pair, at_counts))]
    return LabelTables(
        scores=pd.DataFrame(scores, columns=list(LABEL_COLUMNS)).astype(LABEL_COLUMNS),
        crossings=pd.DataFrame(crossings, columns=list(CROSSING_COLUMNS)).astype(CROSSING_COLUMNS),
        counts=counts_of,
        records=tuple(record for loaded in found for record in loaded.records),
        left_out=tuple(dict.fromkeys(left_out)),
    )


def counts_by_task(
    found: Iterable[Loaded], source: Source, known: KnownAnswers, left_out: list[str]
) -> dict[str, list[AtCount]]:
    """Return by task the rows at each count, the fewest labels first; `left_out` gets a line per part that is not in it."""
    return {
        task: sorted(
            (_at_count(cells, loaded, source, known) for loaded, cells in parts), key=lambda at: at.labels
        )
        for task, parts in _of_one_setting(found, left_out).items()
    }


def _of_one_setting(
    found: Iterable[Loaded], left_out: list[str]
) -> dict[str, list[tuple[Loaded, pd.DataFrame]]]:
    """Return by task the cells of each count, those that agree with the newest in all but the count."""
    parts: dict[str, list[tuple[Loaded, pd.DataFrame, Record]]] = {}
    for loaded in found:
        newest = {
            record.task.name: record for record in sorted(loaded.records, key=lambda one: one.finished_at)
        }
        for task, cells in loaded.cells.groupby("task"):
            parts.setdefault(str(task), []).append((loaded, cells, newest[str(task)]))
    agreeing = {}
    for task, of_task in sorted(parts.items()):
        setting = _setting(max((record for *_, record in of_task), key=lambda record: record.finished_at))
        agreeing[task] = [(loaded, cells) for loaded, cells, record in of_task if _setting(record) == setting]
        others = [record.task.train_examples for *_, record in of_task if _setting(record) != setting]
        if others:
            listed = " and ".join(f"{number:,}" for number in others)
            left_out.append(
                f"left out {on_one_line(task)} at {listed} labels: measured with other data, another metric or other"
                " budget settings than the newest count; run it again to see it"
            )
    return agreeing


def _setting(record: Record) -> Hashable:
    """Return what the records of two counts must share; what `Budget.at_labels` changes is no part of it."""
    budget = record.budget.identity()
    for name in ("name", "train_examples", "max_epochs"):
        del budget[name]
    task = record.task
    return task.fingerprint, task.metric, task.eval_split, json.dumps(budget, sort_keys=True)


def _at_count(cells: pd.DataFrame, loaded: Loaded, source: Source, known: KnownAnswers) -> AtCount:
    answers = TaskAnswers(cells, source.root, known, metrics=loaded.metrics)
    problems = answers.read(answers.rows)
    by_row: dict[str, list[Row]] = {}
    for cell in rows_of(cells.sort_values(["strategy", "seed"])):
        by_row.setdefault(str(cell["strategy"]), []).append(cell)
    return AtCount(
        labels=_labels_of(next(iter(by_row.values()))[0], loaded),
        cells=by_row,
        answers=answers,
        readable=frozenset(answers.rows) - frozenset(problems),
        problems=tuple(_unread(problems)),
    )


def _labels_of(cell: Row, loaded: Loaded) -> int:
    """Return the label count; where a task is smaller, its rows at that count have no score but the count as asked."""
    return split_label_count(loaded.records[0].budget.name)[1] or int(cell["train_examples"])


def _unread(problems: Mapping[str, str]) -> list[str]:
    """Return a line about rows whose answers cannot be read, with the first reason; empty without such rows."""
    if not problems:
        return []
    return [f"no interval and no crossing of {plural(len(problems), 'row')}: {next(iter(problems.values()))}"]


def _score_lines(at: AtCount) -> list[dict[str, Any]]:
    lines = []
    for row, cells in at.cells.items():
        succeeded = all(cell["status"] == Status.OK.value and cell["score"] is not None for cell in cells)
        failed = next((cell for cell in cells if cell["status"] != Status.OK.value), cells[0])
        low, high = at.answers.interval(row) or (None, None) if succeeded else (None, None)
        lines.append(
            {
                **{name: cells[0][name] for name in ("task", "strategy", "metric", "validation_examples")},
                **{name: cells[0][name] for name in ("steps", "batch_size")},
                "labels": at.labels,
                "seeds": len(cells),
                "status": failed["status"],
                "score": fmean(cell["score"] for cell in cells) if succeeded else None,
                "score_low": low,
                "score_high": high,
                "is_teacher": any(cell["is_teacher"] for cell in cells),
            }
        )
    return lines
