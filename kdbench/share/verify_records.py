"""Values that no run can have measured."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from kdbench.api.metric import Metric
from kdbench.budgets import BUDGETS
from kdbench.evaluation.metrics import METRICS
from kdbench.registry import Registry
from kdbench.results.records import Cost, Quality, Record, Size, Status
from kdbench.results.timings import ModelTiming, Point, Timing
from kdbench.share.verify_report import Report
from kdbench.share.verify_scores import stages_of, why_unknown

_CLOCKS_DIFFER_BY = timedelta(minutes=10)
_STEPS_OF_ROUNDING = 2
"""A stage that trains in two parts rounds the steps of each."""
_MORE_THAN_THE_BASE = 1.1
"""What a strategy trains may be cut away afterwards, and may stand beside the whole base model: adapters, a head."""

AGAIN = "run the cell again"


def impossible_in_record(
    record: Record,
    largest_model: int,
    joint: bool | None,
    now: datetime,
    metrics: Mapping[str, Metric] = METRICS,
) -> Iterator[str]:
    """Give a line for each thing in `record` that no run can have measured.

    Args:
        record: a record that fits the schema.
        largest_model: the parameters of the largest artifact in the folder with the same base model.
        joint: whether the strategy trains on several tasks, whose steps it may share as it likes; None: not known.
        now: with a time zone.
        metrics: the registered ones; what values another one can have is not known.
    """
    yield from _when(record.finished_at, now)
    if record.seed < 0:
        yield f"the seed is {record.seed}"
    if record.status is Status.OK and (record.quality is None or record.size is None):
        yield "it ended well without a score or a size"
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
    yield from _examples(record)


def impossible_in_timing(timing: Timing, now: datetime) -> Iterator[str]:
    """Give a line for each thing in `timing` that no run can have measured."""
    yield from _when(timing.finished_at, now)
    for name in ("threads", "batch_size", "rounds"):
        if getattr(timing, name) < 1:
            yield f"{name} is {getattr(timing, name)}"
    keys = [model.key for model in timing.models]
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        yield f"the model {key} was timed twice"
    for model in timing.models:
        yield from _model(model)


def unlike_known_budget(record: Record) -> str | None:
    """Return that the record's budget is another than the one of its name, or None."""
    known = BUDGETS.get(record.budget.name)
    if known is None or known.identity() == record.budget.identity():
        return None
    return f"its budget {record.budget.name!r} has other numbers than this version's"


def _when(finished_at: datetime, now: datetime) -> Iterator[str]:
    if finished_at.tzinfo is None:
        yield "its time of ending has no time zone"
    elif finished_at > now + _CLOCKS_DIFFER_BY:
        yield f"it ended at {finished_at:%Y-%m-%d %H:%M %Z}, which is to come"


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
        yield f"the interval ends at {quality.high} before it begins at {quality.low}"
    if metric not in quality.metrics:
        yield f"the headline metric {metric!r} is not among its metrics"
    elif quality.metrics[metric] != quality.score:
        yield f"the score is {quality.score}, but {metric} among the metrics is {quality.metrics[metric]}"


def _size(size: Size, largest_model: int) -> Iterator[str]:
    yield from _negative("size", size)
    if size.non_embedding_parameters > size.total_parameters:
        yield f"{size.non_embedding_parameters:,} parameters beside embeddings of {size.total_parameters:,} in all"
    if size.trainable_parameters > _MORE_THAN_THE_BASE * largest_model:
        yield f"{size.trainable_parameters:,} parameters were trained, but no model here has more than {largest_model:,}"
    if size.artifact_bytes == 0:
        yield "the artifact has no bytes"


def _cost(cost: Cost, record: Record, joint: bool | None) -> Iterator[str]:
    yield from _negative("cost", cost)
    kind = record.task.kind
    batch = record.budget.batch_size_for(kind)
    # Without steps no batch was taken: the examples were looked at as a whole, as a probe's solver does.
    if cost.steps and cost.examples > cost.steps * batch:
        yield f"{cost.examples:,} examples in {cost.steps:,} steps of {batch}"
    if joint is False:
        steps = record.budget.steps_for(kind, record.task.train_examples)
        stages = max(1, len(stages_of(record)))
        # The first stage may be the teacher's own row.
        allowed = math.ceil(steps * record.budget.teacher_factor) + steps * (stages - 1)
        if cost.steps > allowed + stages * _STEPS_OF_ROUNDING:
            yield f"{cost.steps:,} steps, but the budget allows {allowed:,}"


def _examples(record: Record) -> Iterator[str]:
    for name in ("train_examples", "validation_examples", "scored_examples"):
        there, allowed = getattr(record.task, name), getattr(record.budget, name)
        if there < 0 or (allowed is not None and there > allowed):
            yield f"{there:,} {name.replace('_', ' ')}, but the budget has {allowed if allowed is not None else 0:,}"


def _negative(part: str, values: Size | Cost | object) -> Iterator[str]:
    for name, value in (vars(values) if values is not None else {}).items():
        if isinstance(value, (int, float)) and value < 0:
            yield f"{part}.{name} is {value}"


def _model(model: ModelTiming) -> Iterator[str]:
    if any(call <= 0 for call in model.calls_ms):
        yield f"a call of {model.key} took no time"
    yield from (f"{line} ({model.key})" for line in _negative("tokenization", model.tokenization))
    for back_end in model.back_ends:
        for point in back_end.points:
            place = f"{model.key}, {back_end.back_end}, batch {point.batch_size}"
            yield from (f"{line} ({place})" for line in _point(point))


def _point(point: Point) -> Iterator[str]:
    yield from _negative("point", point)
    names = ("p50_ms", "p90_ms", "p95_ms", "p99_ms")
    there = [(name, value) for name in names if (value := getattr(point, name)) is not None]
    for (lower, below), (upper, above) in itertools.pairwise(there):
        if above < below:
            yield f"{upper} is {above:g}, below {lower} of {below:g}"
    if point.speedup == 0:
        yield "the speed-up is 0"
    if (
        point.speedup_low is not None
        and point.speedup_high is not None
        and point.speedup_low > point.speedup_high
    ):
        yield f"the speed-up's interval ends at {point.speedup_high} before it begins at {point.speedup_low}"


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
            by_task[task.name, task.fingerprint, task.eval_split, record.budget.scored_examples].append(
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
