"""Whether scores and intervals are those of the stored predictions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from kdbench.api.metric import Metric
from kdbench.api.strategy import JointStrategy
from kdbench.errors import KdbenchError, one_line
from kdbench.evaluation.diagnostics import select_examples
from kdbench.evaluation.predictions import Predictions
from kdbench.registry import Registry
from kdbench.results.records import Quality, Record, key_of_cell, spelled_out
from kdbench.share.privacy import PATH
from kdbench.share.verify_folder import LARGEST_PREDICTIONS_BYTES, HandedIn
from kdbench.share.verify_report import Report
from kdbench.stats import bootstrap_interval

TOLERANCE = 1e-9
"""Sums in another order, as another machine's libraries make them, differ by less."""
MOST_EXAMPLES = 200_000
"""A bootstrap over more would take minutes."""
MOST_LABELS = 4096

_REMEDY = "run the cell again"


def check_scores(
    place: str, record: Record, folder: HandedIn, registry: Registry, report: Report
) -> Predictions | None:
    """Recompute every score of `record` from its predictions, and return these where they can be read."""
    quality = record.quality
    if quality is None:
        return None
    name = f"predictions/{record.key}.safetensors"
    answers = load_predictions(name, record, folder, report)
    if answers is None:
        report.leave(place, "scores: there are no predictions that they could be recomputed from")
        return None
    if answers.decoded is not None:
        _check_decoded(name, answers, record, registry, report)
    report.checked["scores"] += 1
    if len(answers) != record.task.scored_examples:
        report.problem(
            name, f"{len(answers)} examples, but the record tells of {record.task.scored_examples}", _REMEDY
        )
    metrics = registry.metrics
    unknown = sorted(set(quality.metrics) - set(metrics))
    for metric in unknown:
        report.leave(place, f"scores: no plugin here brings the metric {metric!r}")
    try:
        for line in _differences(quality, answers, record, metrics):
            report.problem(place, f"{line} from the stored predictions", _REMEDY)
        _check_interval(place, quality, answers, record, metrics, report)
        _check_noisy(place, quality, answers, record, folder, metrics, report)
    except KdbenchError as error:  # a metric that is not defined on the labels
        report.problem(place, str(error), _REMEDY)
    return answers


def load_predictions(name: str, record: Record, folder: HandedIn, report: Report) -> Predictions | None:
    """Return the predictions in the file `name` if they can be `record`'s; else the report tells why not."""
    path = folder.locate(name, LARGEST_PREDICTIONS_BYTES)
    if path is None:
        return None
    report.checked["predictions"] += 1
    labels = len(record.task.labels)
    if labels > MOST_LABELS:
        report.leave(name, f"scores: more than {MOST_LABELS:,} labels")
        return None
    try:
        answers = Predictions.load(path)
    except KdbenchError as error:
        report.problem(name, str(error), _REMEDY)
        return None
    if answers.is_classification and answers.logits.shape[1] != labels:
        report.problem(
            name, f"{answers.logits.shape[1]} classes, but the record has {labels} labels", _REMEDY
        )
        return None
    if len(np.unique(answers.ids)) != len(answers):
        report.problem(name, "an example is answered twice", _REMEDY)
        return None
    return answers


def _check_decoded(
    name: str, answers: Predictions, record: Record, registry: Registry, report: Report
) -> None:
    """Decode the logits again, where the kind of the record's task is registered."""
    kind = registry.kinds.get(record.task.kind)
    if kind is None:
        report.leave(
            name, f"scores: no plugin here brings the kind of task {record.task.kind!r} to decode logits by"
        )
    elif not np.array_equal(kind.item.decode(answers.logits), answers.predicted):
        report.problem(name, f"the answers are not what {record.task.kind} makes of the logits", _REMEDY)


def test_set(answers: Predictions) -> str:
    """Return a hash of the examples and their right answers, in whatever order they were answered."""
    ordered = select_examples(answers, np.sort(answers.ids))
    digest = hashlib.sha256(ordered.ids.astype("<i8").tobytes())
    digest.update(ordered.references.astype("<f8").tobytes())
    if ordered.offsets is not None:
        digest.update(ordered.offsets.astype("<i8").tobytes())
    return digest.hexdigest()


def _differences(
    quality: Quality, answers: Predictions, record: Record, metrics: Mapping[str, Metric]
) -> Iterator[str]:
    told = {name: value for name, value in quality.metrics.items() if name in metrics}
    if record.task.metric in metrics:
        told.setdefault(record.task.metric, quality.score)
    for name, value in told.items():
        found = metrics[name].of(answers, record.task.labels)
        if abs(found - value) > TOLERANCE:
            yield f"{name} is told as {value} and comes out as {found}"


def _check_interval(
    place: str,
    quality: Quality,
    answers: Predictions,
    record: Record,
    metrics: Mapping[str, Metric],
    report: Report,
) -> None:
    if record.task.metric not in metrics:
        return
    if len(answers) > MOST_EXAMPLES:
        report.leave(place, f"intervals: more than {MOST_EXAMPLES:,} examples")
        return
    report.checked["intervals"] += 1
    metric = metrics[record.task.metric]
    low, high = bootstrap_interval(metric.statistics(answers, record.task.labels)[None], metric.score)
    if abs(low - quality.low) > TOLERANCE or abs(high - quality.high) > TOLERANCE:
        report.problem(
            place,
            f"the interval is told as {quality.low} to {quality.high} and comes out as {low} to {high} from the stored "
            "predictions",
            _REMEDY,
        )


def _check_noisy(
    place: str,
    quality: Quality,
    answers: Predictions,
    record: Record,
    folder: HandedIn,
    metrics: Mapping[str, Metric],
    report: Report,
) -> None:
    if quality.noisy_score is None or record.task.metric not in metrics:
        return
    name = f"predictions/{record.key}.noisy.safetensors"
    noisy = load_predictions(name, record, folder, report)
    if noisy is None:
        report.leave(place, "noisy scores: there are no predictions that they could be recomputed from")
        return
    report.checked["noisy scores"] += 1
    metric, labels = metrics[record.task.metric], record.task.labels
    score = metric.of(noisy, labels)
    drop = metric.of(select_examples(answers, noisy.ids), labels) - score
    told = {"noisy_score": (quality.noisy_score, score), "noisy_drop": (quality.noisy_drop, drop)}
    for field, (value, found) in told.items():
        if value is None or abs(found - value) > TOLERANCE:
            report.problem(
                place,
                f"{field} is told as {value} and comes out as {found} from the stored predictions",
                _REMEDY,
            )


def stages_of(record: Record) -> dict[str, dict[str, Any]]:
    """Return every stage's parameters by its name, first to last."""
    params = record.strategy.params
    return {record.strategy.name: params} if "learning_rate" in params else params


def is_joint(record: Record, registry: Registry) -> bool | None:
    """Return whether the record's strategy trains on several tasks; None where it is not installed."""
    kinds = [registry.strategies[name].item for name in stages_of(record) if name in registry.strategies]
    return any(issubclass(kind, JointStrategy) for kind in kinds) if kinds else None


def check_key(
    place: str, record: Record, tasks: Collection[tuple[str, str]], registry: Registry, report: Report
) -> None:
    """Recompute the key of `record`; where a part of it is in no record, say which.

    A key that comes out right is right, whatever else is unknown: a joint strategy's is tried with all the tasks that
    it has records of.

    Args:
        place: where the record stands.
        tasks: the name and fingerprint of each task with a record of the same row, budget, base model and seed.
        registry: the installed strategies, whose default learning rates are in no record.
        report: gets what is found.
    """
    report.checked["keys"] += 1
    stages = stages_of(record).values()
    if not all(isinstance(params, dict) and "learning_rate" in params for params in stages):
        report.problem(
            place, "its strategy's parameters have another form than kdbench writes", "run the cell again"
        )
    elif _rates_are_known(record, registry) and record.key in _keys(record, tasks, registry):
        return
    elif (why := why_unknown(record, registry)) is not None:
        report.leave(place, f"keys: {why}")
    else:
        report.problem(
            place,
            f"the key {record.key} is not the hash of its strategy, data, base model, budget and seed: one of them was "
            "changed after the run",
            "run the cell again",
        )


def why_unknown(record: Record, registry: Registry) -> str | None:
    """Return which part of what the key of `record` hashes is in no record, or None where all are there."""
    if record.model.teacher is not None:
        return "the hash of a teacher that the user gave is in no record"
    if record.task.kind not in registry.kinds:
        return f"no plugin here brings the kind of task {record.task.kind!r}, whose default learning rate may count"
    if is_joint(record, registry):
        return "the tasks that a joint strategy was trained on are in no record"
    if PATH in json.dumps(record.strategy.params):
        return "a path among the parameters was taken out when the record was published"
    if record.strategy.name.count("+") >= len(stages_of(record)):
        return "a stage that stands in a stack twice has its parameters in the record once"
    reasons = (_why_stage(name, params, record, registry) for name, params in stages_of(record).items())
    return next((reason for reason in reasons if reason is not None), None)


def _why_stage(name: str, params: dict[str, Any], record: Record, registry: Registry) -> str | None:
    if name not in registry.strategies:
        return f"the strategy {name!r} is not installed here, and may hang on more than a record tells"
    found = registry.strategies[name]
    another = found.version != record.strategy.version
    if params.get("learning_rate") is None and another:
        return (
            f"made by version {record.strategy.version} of {name!r}; {found.version}, which is installed here, may have "
            "another default learning rate"
        )
    try:
        if found.item(found.item.Params.model_validate(params)).input_files():
            return "the hashes of the user's files that a strategy read are in no record"
    except Exception as error:  # parameters that it has not; a plugin raises what it likes
        # The version that made the record has them: then somebody changed the record.
        return (
            f"the installed {name!r} cannot take the parameters ({one_line(error)[:120]})"
            if another
            else None
        )
    return None


def _rates_are_known(record: Record, registry: Registry) -> bool:
    if record.task.kind not in registry.kinds:
        return False
    return all(
        params["learning_rate"] is not None or name in registry.strategies
        for name, params in stages_of(record).items()
    )


def _keys(record: Record, tasks: Iterable[tuple[str, str]], registry: Registry) -> list[str]:
    stages = [
        {
            "strategy": name,
            "params": spelled_out(
                params,
                registry.strategies[name].item.learning_rates if name in registry.strategies else {},
                registry.kind(record.task.kind),
            ),
        }
        for name, params in stages_of(record).items()
    ]
    return [
        key_of_cell(
            stages,
            task=record.task.name,
            data=record.task.fingerprint,
            base=record.model.weights_sha256,
            budget=record.budget,
            seed=record.seed,
            partners=partners,
        )
        for partners in ([], list(tasks))
    ]
