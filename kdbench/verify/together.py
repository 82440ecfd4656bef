"""What records must have in common, and what they must not."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence

from kdbench.registry import Registry
from kdbench.results.records import Record
from kdbench.verify.keys import why_unknown
from kdbench.verify.report import Report

Placed = Sequence[tuple[str, Record]]
"""Records, each with the place where it stands."""


def row_of(record: Record) -> Hashable:
    """Return what the records of one row, seed and setting share, whatever task they are of."""
    return (
        record.strategy.name,
        json.dumps(record.strategy.params, sort_keys=True),
        record.model.weights_sha256,
        record.model.teacher,
        json.dumps(record.budget.identity(), sort_keys=True),
        record.seed,
    )


def check_duplicates(records: Placed, registry: Registry, report: Report) -> None:
    """Find keys that stand twice, and cells that stand under two keys."""
    first: dict[str, str] = {}
    cells: dict[Hashable, tuple[str, Record]] = {}
    for place, record in records:
        report.checked["cells"] += 1
        if record.key in first:
            report.problem(
                place, f"the key {record.key} stands in {first[record.key]}, too", "leave one of them out"
            )
            continue
        first[record.key] = place
        cell = (row_of(record), record.task.name, record.task.fingerprint)
        if cell not in cells:
            cells[cell] = (place, record)
            continue
        what = f"{record.strategy.label} on {record.task.name}, seed {record.seed}, stands in {cells[cell][0]}, too"
        if why_unknown(record, registry) is None:
            report.problem(place, f"{what}, under another key", "leave one of them out")
        else:
            report.notes.append(f"{place}: {what}; the two may differ in what no record tells")


def check_data(records: Placed, report: Report) -> None:
    """Find tasks that stand for two data sets."""
    by_task: dict[str, set[str]] = defaultdict(set)
    for _, record in records:
        by_task[record.task.name].add(record.task.fingerprint)
    for task, fingerprints in by_task.items():
        if len(fingerprints) > 1:
            report.notes.append(
                f"{task}: {len(fingerprints)} data sets under one name; a board shows one of them"
            )


def check_test_sets(records: Placed, test_sets: Mapping[str, str], report: Report) -> None:
    """Find predictions of other examples, or with other right answers, than most of the task's have.

    Args:
        records: with their places.
        test_sets: by key the hash of the test set that was answered.
        report: gets what is found.
    """
    by_task: dict[Hashable, list[tuple[str, Record]]] = defaultdict(list)
    for place, record in records:
        if record.key in test_sets:
            task = record.task
            by_task[task.name, task.fingerprint, task.scored_split, record.budget.scored_examples].append(
                (place, record)
            )
    for members in by_task.values():
        report.checked["test sets"] += 1
        (usual, _), *others = Counter(test_sets[record.key] for _, record in members).most_common()
        for place, record in members if others else ():
            if test_sets[record.key] != usual:
                report.problem(
                    place,
                    f"its predictions are of other examples, or have other right answers, than most of {record.task.name}",
                    "run the cell again",
                )


def note_equal_predictions(records: Placed, answers: Mapping[str, str], report: Report) -> None:
    """Remark on different strategies that answered alike to the last digit.

    Args:
        records: with their places.
        answers: by key the hash of the file of predictions.
        report: gets what is found.
    """
    by_answers: dict[str, dict[str, str]] = defaultdict(dict)
    for _, record in records:
        if record.key in answers:
            name = f"{record.strategy.label} (seed {record.seed})"
            by_answers[answers[record.key]].setdefault(record.strategy.label, name)
    for rows in by_answers.values():
        if len(rows) > 1:
            report.notes.append(f"the very same predictions: {', '.join(rows.values())}")
