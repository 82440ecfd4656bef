"""Check records and timings for impossible values, duplicates and inconsistent data."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from kdbench.api.metric import Metric
from kdbench.budgets import BUDGETS, with_label_count
from kdbench.evaluation.metrics import METRICS
from kdbench.registry import Registry
from kdbench.results.records import Cost, Quality, Record, Size, Status
from kdbench.results.timings import ModelTiming, Point, Timing
from kdbench.share.verify_report import Report
from kdbench.share.verify_scores import RERUN, stages_of, unknown_key_part

_MAX_CLOCK_DIFFERENCE = timedelta(minutes=10)
_ROUNDING_STEPS = 2
"""A stage that trains in two parts rounds the steps of each."""
_MAX_TRAINED_RATIO = 1.1
"""Trained parameters relative to the largest model: trained adapters or heads add to those of the base model."""


def impossible_in_record(
    record: Record,
    largest_model: int,
    joint: bool | None,
    now: datetime,
    metrics: Mapping[str, Metric] = METRICS,
) -> Iterator[str]:
    """Yield one line per value in `record` that no run can have measured.

    Args:
        record: one that fits the schema.
        largest_model: the parameters of the largest artifact in the folder with the same base model.
        joint: whether the strategy trains on several tasks, among which it may divide its steps; None if unknown.
        now: with a time zone.
        metrics: the registered ones; the range of another metric is unknown.
    """
    yield from _when(record.finished_at, now)
    if record.seed < 0:
        yield f"the seed is {record.seed}"
    if record.status is Status.OK and (record.quality is None or record.size is None):
        yield "its status is ok, but it has no score or no size"
    if record.status is not Status.OK and record.quality is not None:
        yield f"it has a score although it ended as {record.status}"
    if record.status is not Status.OK and not record.reason:
        yield f"it ended as {record.status} without a reason"
    if record.quality is not None:
        yield from _quality(record.quality, record.task.metric, metrics)
    if record.size is not None:
        yield from _size(record.size, largest_model)
    if record.cost is not None:
        yield from _cost(record.cost, record, joint)
    yield from _negative("compute", record.compute)
    yield from _tuning(record)
    yield from _examples(record)


def impossible_in_timing(timing: Timing, now: datetime) -> Iterator[str]:
    """Yield one line per value in `timing` that no run can have measured."""
    yield from _when(timing.finished_at, now)
    for name in ("threads", "batch_size", "rounds"):
        if getattr(timing, name) < 1:
            yield f"{name} is {getattr(timing, name)}"
    keys = [model.key for model in timing.models]
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        yield f"the model {key} was timed twice"
    for model in timing.models:
        yield from _model(model)


def budget_difference(record: Record) -> str | None:
    """Return a line if the record's budget differs from the built-in budget of its name, or None."""
    try:
        known = with_label_count(record.budget.name, BUDGETS)
    except ValueError:  # a user's budget, which this version does not know
        return None
    if known.identity() == record.budget.identity():
        return None
    return f"its budget {record.budget.name!r} differs from this version's"


def _when(finished_at: datetime, now: datetime) -> Iterator[str]:
    if finished_at.tzinfo is None:
        yield "its end time has no time zone"
    elif finished_at > now + _MAX_CLOCK_DIFFERENCE:
        yield f"it ended at {finished_at:%Y-%m-%d %H:%M %Z}, which is in the future"


def _quality(quality: Quality, metric: str, metrics: Mapping[str, Metric]) -> Iterator[str]:
    scores = {"score": (metric, quality.score), "noisy_score": (metric, quality.noisy_score)}
    scores |= {f"metrics.{name}": (name, value) for name, value in quality.metrics.items()}
    for place, (name, value) in scores.items():
        if value is None or name not in metrics:
            continue
        lowest, highest = metrics[name].score_range
        if not lowest <= value <= highest:
            yield f"{place} is {value}, but {name} lies between {lowest:g} and {highest:g}"
    if quality.low > quality.high:
        yield f"the interval's upper bound {quality.high} is below its lower bound {quality.low}"
    if metric not in quality.metrics:
        yield f"the headline metric {metric!r} is not among its metrics"
    elif quality.metrics[metric] != quality.score:
        yield f"the score is {quality.score}, but {metric} among the metrics is {quality.metrics[metric]}"


def _size(size: Size, largest_model: int) -> Iterator[str]:
    yield from _negative("size", size)
    if size.non_embedding_parameters > size.total_parameters:
        yield f"{size.non_embedding_parameters:,} non-embedding parameters, but only {size.total_parameters:,} in total"
    if size.trainable_parameters > _MAX_TRAINED_RATIO * largest_model:
        yield f"{size.trainable_parameters:,} parameters were trained, but no model here has more than {largest_model:,}"
    if size.artifact_bytes == 0:
        yield "the artifact has no bytes"


def _cost(cost: Cost, record: Record, joint: bool | None) -> Iterator[str]:
    yield from _negative("cost", cost)
    kind = record.task.kind
    batch = record.budget.batch_size_for(kind)
    # Without steps there are no batches: a solver, such as a linear probe's, used all examples at once.
    if cost.steps and cost.examples > cost.steps * batch:
        yield f"{cost.examples:,} examples, but {cost.steps:,} steps of {batch} examples"
    if joint is False:
        steps = record.budget.steps_for(kind, record.task.train_examples)
        stages = max(1, len(stages_of(record)))
        # The first stage may be the teacher's own row.
        allowed = math.ceil(steps * record.budget.teacher_factor) + steps * (stages - 1)
        if cost.steps > allowed + stages * _ROUNDING_STEPS:
            yield f"{cost.steps:,} steps, but the budget allows {allowed:,}"


def _tuning(record: Record) -> Iterator[str]:
    stages = stages_of(record)
    for tuning in record.tuning:
        yield from _negative("tuning", tuning)
        if tuning.trials < 1:
            yield f"{tuning.strategy} was tuned without a trial"
        used = stages.get(tuning.strategy, {})
        for name, value in tuning.params.items():
            if used.get(name) != value:
                yield f"{name} of {tuning.strategy} is {used.get(name)}, but its tuning found {value}"


def _examples(record: Record) -> Iterator[str]:
    for name in ("train_examples", "validation_examples", "scored_examples"):
        count, allowed = getattr(record.task, name), getattr(record.budget, name)
        if count < 0 or (allowed is not None and count > allowed):
            yield f"{count:,} {name.replace('_', ' ')}, but the budget has {allowed if allowed is not None else 0:,}"


def _negative(part: str, values: Size | Cost | object) -> Iterator[str]:
    for name, value in (vars(values) if values is not None else {}).items():
        if isinstance(value, (int, float)) and value < 0:
            yield f"{part}.{name} is {value}"


def _model(model: ModelTiming) -> Iterator[str]:
    yield from (f"{line} ({model.key})" for line in _negative("tokenization", model.tokenization))
    for back_end in model.back_ends:
        for point in back_end.points:
            place = f"{model.key}, {back_end.back_end}, batch {point.batch_size}"
            yield from (f"{line} ({place})" for line in _point(point))


def _point(point: Point) -> Iterator[str]:
    if any(call <= 0 for calls in point.calls_ms for call in calls):
        yield "a call took no time"
    yield from _negative("point", point)
    names = ("p50_ms", "p90_ms", "p95_ms", "p99_ms")
    percentiles = [(name, value) for name in names if (value := getattr(point, name)) is not None]
    for (lower, below), (upper, above) in itertools.pairwise(percentiles):
        if above < below:
            yield f"{upper} is {above:g}, below {lower} of {below:g}"
    for name in ("speedup", "p95_speedup", "eager_speedup"):
        words = _SPEEDUPS[name]
        if getattr(point, name) == 0:
            yield f"{words} is 0"
        low, high = getattr(point, f"{name}_low"), getattr(point, f"{name}_high")
        if low is not None and high is not None and low > high:
            yield f"{words}'s upper bound {high} is below its lower bound {low}"


_SPEEDUPS = {
    "speedup": "the speed-up",
    "p95_speedup": "the speed-up at p95",
    "eager_speedup": "the speed-up over PyTorch",
}


PlacedRecords = Sequence[tuple[str, Record]]
"""Records, each with its place: a file, or a line of one."""


def row_of(record: Record) -> Hashable:
    """Return what records of one row, base model, teacher, budget and seed share across tasks."""
    return (
        record.strategy.name,
        json.dumps(record.strategy.params, sort_keys=True),
        bool(record.tuning),  # a tuned row may have found the defaults
        record.model.weights_sha256,
        record.model.teacher,
        json.dumps(record.budget.identity(), sort_keys=True),
        record.seed,
    )


def check_duplicates(records: PlacedRecords, registry: Registry, report: Report) -> None:
    """Report duplicate keys, and cells with two keys."""
    first: dict[str, str] = {}
    cells: dict[Hashable, str] = {}
    for place, record in records:
        report.checked["cells"] += 1
        if record.key in first:
            line = f"the key {record.key} is also in {first[record.key]}"
            report.problem(place, line, "leave one of them out")
            continue
        first[record.key] = place
        earlier = cells.setdefault((row_of(record), record.task.name, record.task.fingerprint), place)
        if earlier == place:
            continue
        line = f"{record.strategy.label} on {record.task.name}, seed {record.seed}, is also in {earlier}"
        if unknown_key_part(record, registry) is None:
            report.problem(place, f"{line}, with another key", "leave one of them out")
        else:
            report.notes.append(
                f"{place}: {line}; the two may differ in something that records do not include"
            )


def check_data(records: PlacedRecords, report: Report) -> None:
    """Report tasks whose records have different data."""
    by_task: dict[str, set[str]] = defaultdict(set)
    for _, record in records:
        by_task[record.task.name].add(record.task.fingerprint)
    for task, fingerprints in by_task.items():
        if len(fingerprints) > 1:
            number = len(fingerprints)
            report.notes.append(f"{task}: {number} data sets under one name; a board shows one of them")


def check_test_sets(records: PlacedRecords, test_sets: Mapping[str, str], report: Report) -> None:
    """Report predictions whose examples or labels differ from those of most records of the task.

    `test_sets` has the hash of the predicted test set by key.
    """
    by_task: dict[Hashable, list[tuple[str, Record]]] = defaultdict(list)
    for place, record in records:
        if record.key in test_sets:
            task = record.task
            same_data = (task.name, task.fingerprint, task.eval_split, record.budget.scored_examples)
            by_task[same_data].append((place, record))
    for members in by_task.values():
        report.checked["test sets"] += 1
        ((usual, _),) = Counter(test_sets[record.key] for _, record in members).most_common(1)
        for place, record in members:
            if test_sets[record.key] != usual:
                line = "the examples or labels of its predictions differ from those of most records of"
                report.problem(place, f"{line} {record.task.name}", RERUN)


def note_equal_predictions(
    records: PlacedRecords, prediction_hashes: Mapping[str, str], report: Report
) -> None:
    """Note different strategies whose predictions are identical; `prediction_hashes` has their files' hashes by key."""
    by_hash: dict[str, dict[str, str]] = defaultdict(dict)
    for _, record in records:
        if record.key in prediction_hashes:
            name = f"{record.strategy.label} (seed {record.seed})"
            by_hash[prediction_hashes[record.key]].setdefault(record.strategy.label, name)
    for rows in by_hash.values():
        if len(rows) > 1:
            report.notes.append(f"identical predictions: {', '.join(rows.values())}")
