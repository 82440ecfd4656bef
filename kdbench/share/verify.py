"""Verify a folder of records: each by itself, each against its predictions, and all together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from datetime import datetime, timezone
from pathlib import Path

from kdbench.registry import Registry
from kdbench.results.paths import LARGEST_PREDICTIONS_BYTES
from kdbench.share.verify_folder import SubmittedFolder
from kdbench.share.verify_records import (
    PlacedRecords,
    budget_difference,
    check_data,
    check_duplicates,
    check_test_sets,
    impossible_in_record,
    impossible_in_timing,
    note_equal_predictions,
    row_of,
)
from kdbench.share.verify_report import Report
from kdbench.share.verify_scores import RERUN, check_key, check_scores, is_joint, test_set
from kdbench.share.verify_serving import impossible_in_serving, recomputed_serving
from kdbench.share.verify_timings import recomputed, too_many_calls
from kdbench.utils.files import sha256


def verify(root: Path, registry: Registry, now: datetime | None = None) -> Report:
    """Verify the results folder or published folder at `root`; nothing in it is run, unpickled or changed.

    Args:
        root: contains ``records/*.json`` or ``records.jsonl`` and, optionally, ``predictions/`` and ``timings/``.
        registry: the installed strategies.
        now: the current time by default; a record that ended later is impossible.

    Raises:
        UsageError: it is not such a folder.
    """
    now = now or datetime.now(timezone.utc)
    report = Report()
    folder = SubmittedFolder(root, report)
    records = list(folder.records())
    _check_records(records, registry, now, report)
    check_duplicates(records, registry, report)
    check_data(records, report)
    test_sets: dict[str, str] = {}
    prediction_hashes: dict[str, str] = {}
    for place, record in records:
        predictions = check_scores(place, record, folder, registry, report)
        if predictions is not None:
            test_sets[record.key] = test_set(predictions)
            path = folder.locate(f"predictions/{record.key}.safetensors", LARGEST_PREDICTIONS_BYTES)
            prediction_hashes[record.key] = sha256(path) if path is not None else record.key
    check_test_sets(records, test_sets, report)
    note_equal_predictions(records, prediction_hashes, report)
    _check_timings(folder, records, now, report)
    _note_orphaned_predictions(folder, records, report)
    return report


def _check_records(records: PlacedRecords, registry: Registry, now: datetime, report: Report) -> None:
    largest: dict[str, int] = defaultdict(int)
    tasks: dict[Hashable, set[tuple[str, str]]] = defaultdict(set)
    for _, record in records:
        if record.size is not None:
            base = record.model.weights_sha256
            largest[base] = max(largest[base], record.size.total_parameters)
        tasks[row_of(record)].add((record.task.name, record.task.fingerprint))
    budgets: dict[str, list[str]] = defaultdict(list)
    for place, record in records:
        report.checked["values"] += 1
        joint = is_joint(record, registry)
        largest_model = largest[record.model.weights_sha256]
        for line in impossible_in_record(record, largest_model, joint, now, registry.metrics):
            report.problem(place, line, RERUN)
        if record.cost is not None and joint is not False:
            report.not_checked(
                place, "steps: a joint strategy divides them among tasks, and one not installed may be joint"
            )
        difference = budget_difference(record)
        if difference is not None:
            budgets[difference].append(place)
        check_key(place, record, tasks[row_of(record)], registry, report)
    report.notes += [f"{line} ({len(places)} records, {places[0]} first)" for line, places in budgets.items()]


def _check_timings(folder: SubmittedFolder, records: PlacedRecords, now: datetime, report: Report) -> None:
    keys = {record.key for _, record in records}
    teachers = {record.key for _, record in records if record.is_teacher}
    for place, timing in folder.timings():
        lines = list(impossible_in_timing(timing, now))
        lines += impossible_in_serving(timing.serving) if timing.serving else []
        if too_many_calls(timing):
            report.not_checked(place, "latencies: too many calls to compute them again")
        elif not lines:
            report.checked["latencies"] += 1
            lines += recomputed(timing, teachers)
            lines += recomputed_serving(timing.serving) if timing.serving else []
        for line in lines:
            report.problem(place, line, "time the models again with 'kdbench run'")
        unknown = [model.key for model in timing.models if model.key not in keys]
        if unknown:
            report.notes.append(f"{place}: {len(unknown)} models without a record, {unknown[0]} first")


def _note_orphaned_predictions(folder: SubmittedFolder, records: PlacedRecords, report: Report) -> None:
    keys = {record.key for _, record in records}
    orphaned = [name for name in folder.predictions() if Path(name).name.partition(".")[0] not in keys]
    if orphaned:
        report.notes.append(f"{len(orphaned)} files of predictions without a record, {orphaned[0]} first")
