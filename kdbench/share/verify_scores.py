"""Recompute scores and intervals from stored predictions, and keys from records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from kdbench.api.metric import Metric
from kdbench.api.predictions import Predictions
from kdbench.api.strategy import JointStrategy
from kdbench.errors import KdbenchError, one_line
from kdbench.evaluation.diagnostics import select_examples
from kdbench.registry import Registry
from kdbench.results.paths import LARGEST_PREDICTIONS_BYTES
from kdbench.results.records import Quality, Record, key_of_cell, spelled_out
from kdbench.results.tuning import TUNED
from kdbench.share.privacy import PATH
from kdbench.share.verify_folder import SubmittedFolder
from kdbench.share.verify_report import Report
from kdbench.stats.intervals import bootstrap_interval

TOLERANCE = 1e-9
"""Summing in another order, as on another machine, changes scores by less."""
MOST_EXAMPLES = 200_000
"""A bootstrap over more examples would take minutes."""
MOST_LABELS = 4096

RERUN = "run the cell again"


def check_scores(
    place: str, record: Record, folder: SubmittedFolder, registry: Registry, report: Report
) -> Predictions | None:
    """Recompute every score of `record` from its predictions; return the predictions, or None if they cannot be read."""
    quality, task, metrics = record.quality, record.task, registry.metrics
    if quality is None:
        return None
    name = f"predictions/{record.key}.safetensors"
    predictions = load_predictions(name, record, folder, report)
    if predictions is None:
        report.not_checked(place, "scores: there are no predictions to recompute them from")
        return None
    if predictions.decoded is not None:
        _check_decoded(name, predictions, task.kind, registry, report)
    report.checked["scores"] += 1
    if len(predictions) != task.scored_examples:
        report.problem(name, f"{len(predictions)} examples, but the record has {task.scored_examples}", RERUN)
    for metric in sorted(set(quality.metrics) - set(metrics)):
        report.not_checked(place, f"scores: no installed plugin provides the metric {metric!r}")
    scores = {**quality.metrics}
    scores.setdefault(task.metric, quality.score)
    try:
        for metric, score in scores.items():
            if metric in metrics:
                recomputed = metrics[metric].of(predictions, task.labels)
                _compare(place, metric, score, recomputed, report)
        if task.metric in metrics:
            _check_interval(place, quality, predictions, task.labels, metrics[task.metric], report)
            _check_noisy(place, quality, predictions, record, folder, metrics[task.metric], report)
    except KdbenchError as error:  # a metric that is undefined for the labels
        report.problem(place, str(error), RERUN)
    return predictions


def _compare(place: str, name: str, recorded: float | None, recomputed: float, report: Report) -> None:
    if recorded is None or abs(recomputed - recorded) > TOLERANCE:
        _report(place, name, recorded, recomputed, report)


def _report(place: str, name: str, recorded: object, recomputed: object, report: Report) -> None:
    line = f"{name} is recorded as {recorded} but is {recomputed} when recomputed from the stored predictions"
    report.problem(place, line, RERUN)


def load_predictions(
    name: str, record: Record, folder: SubmittedFolder, report: Report
) -> Predictions | None:
    """Return the predictions in the file `name` if they fit `record`, or None; problems are added to the report."""
    path = folder.locate(name, LARGEST_PREDICTIONS_BYTES)
    if path is None:
        return None
    report.checked["predictions"] += 1
    labels = len(record.task.labels)
    if labels > MOST_LABELS:
        report.not_checked(name, f"scores: more than {MOST_LABELS:,} labels")
        return None
    try:
        predictions = Predictions.load(path)
    except KdbenchError as error:
        report.problem(name, str(error), RERUN)
        return None
    by_label = predictions.is_classification or predictions.is_multi_label
    if by_label and predictions.logits.shape[1] != labels:
        classes = predictions.logits.shape[1]
        report.problem(name, f"{classes} classes, but the record has {labels} labels", RERUN)
        return None
    if len(np.unique(predictions.ids)) != len(predictions):
        report.problem(name, "an example is predicted twice", RERUN)
        return None
    return predictions


def _check_decoded(
    name: str, predictions: Predictions, kind: str, registry: Registry, report: Report
) -> None:
    """Decode the logits again and compare, if the `kind` of task is registered."""
    if kind not in registry.kinds:
        report.not_checked(
            name, f"scores: no installed plugin provides the kind of task {kind!r}, which decodes logits"
        )
    elif not np.array_equal(registry.kind(kind).decode(predictions.logits), predictions.predicted):
        report.problem(name, f"the predictions are not those that {kind} decodes from the logits", RERUN)


def test_set(predictions: Predictions) -> str:
    """Return a hash of the examples and their labels, independent of their order."""
    ordered = select_examples(predictions, np.sort(predictions.ids))
    digest = hashlib.sha256(ordered.ids.astype("<i8").tobytes())
    digest.update(ordered.references.astype("<f8").tobytes())
    if ordered.offsets is not None:
        digest.update(ordered.offsets.astype("<i8").tobytes())
    return digest.hexdigest()


def _check_interval(
    place: str,
    quality: Quality,
    predictions: Predictions,
    labels: tuple[str, ...],
    metric: Metric,
    report: Report,
) -> None:
    if len(predictions) > MOST_EXAMPLES:
        report.not_checked(place, f"intervals: more than {MOST_EXAMPLES:,} examples")
        return
    report.checked["intervals"] += 1
    statistics = metric.statistics(predictions, labels)[None]
    low, high = bootstrap_interval(
        statistics, metric.score, rescore=metric.own_rescore, groups=predictions.group_places
    )
    # Records of version 0.1 have the percentiles alone, of ranks in the whole sample.
    former = bootstrap_interval(statistics, metric.score, plain=True)
    if not any(_are_close(ends, (quality.low, quality.high)) for ends in ((low, high), former)):
        recorded, recomputed = f"{quality.low} to {quality.high}", f"{low} to {high}"
        _report(place, "the interval", recorded, recomputed, report)


def _are_close(ends: tuple[float, float], others: tuple[float, float]) -> bool:
    return all(abs(end - other) <= TOLERANCE for end, other in zip(ends, others, strict=True))


def _check_noisy(
    place: str,
    quality: Quality,
    predictions: Predictions,
    record: Record,
    folder: SubmittedFolder,
    metric: Metric,
    report: Report,
) -> None:
    if quality.noisy_score is None:
        return
    noisy = load_predictions(f"predictions/{record.key}.noisy.safetensors", record, folder, report)
    if noisy is None:
        report.not_checked(place, "noisy scores: there are no predictions to recompute them from")
        return
    report.checked["noisy scores"] += 1
    labels = record.task.labels
    score = metric.of(noisy, labels)
    drop = metric.of(select_examples(predictions, noisy.ids), labels) - score
    _compare(place, "noisy_score", quality.noisy_score, score, report)
    _compare(place, "noisy_drop", quality.noisy_drop, drop, report)


def stages_of(record: Record) -> dict[str, dict[str, Any]]:
    """Return the parameters of every stage by its name, first to last."""
    params = record.strategy.params
    return {record.strategy.name: params} if "learning_rate" in params else params


def is_joint(record: Record, registry: Registry) -> bool | None:
    """Return whether the record's strategy trains on several tasks; None if it is not installed."""
    kinds = [registry.strategies[name].item for name in stages_of(record) if name in registry.strategies]
    return any(issubclass(kind, JointStrategy) for kind in kinds) if kinds else None


def check_key(
    place: str, record: Record, tasks: Collection[tuple[str, str]], registry: Registry, report: Report
) -> None:
    """Recompute the key of `record`; if that needs something that records do not include, report what.

    A key that matches is correct, even if something is unknown: for a joint strategy all tasks that it has records of
    are tried as partners. These `tasks`, by name and fingerprint, have records of the same row, budget, base model and
    seed; the registry has the default learning rates, which records lack.
    """
    report.checked["keys"] += 1
    stages = stages_of(record).values()
    if not all(isinstance(params, dict) and "learning_rate" in params for params in stages):
        report.problem(place, "its strategy's parameters do not have the format that kdbench writes", RERUN)
    elif _rates_are_known(record, registry) and record.key in _keys(record, tasks, registry):
        return
    elif (reason := unknown_key_part(record, registry)) is not None:
        report.not_checked(place, f"keys: {reason}")
    else:
        report.problem(
            place,
            f"the key {record.key} is not the hash of its strategy, data, base model, budget and seed: one of them was "
            "changed after the run",
            RERUN,
        )


def _teacher_sha256(record: Record) -> str | None:
    """Return the hash of the model, or of the file of answers, that the user gave as the teacher; None if it is unknown."""
    answers = record.model.answers
    return answers.sha256 if answers else record.model.teacher_sha256


def unknown_key_part(record: Record, registry: Registry) -> str | None:
    """Return which input of the hash in `record`'s key is not in the record, or None if all are."""
    if record.model.teacher is not None and _teacher_sha256(record) is None:
        return "the hash of an external teacher is not in the record"
    if record.task.kind not in registry.kinds:
        return f"no installed plugin provides the kind of task {record.task.kind!r}, whose default learning rate may matter"
    if is_joint(record, registry):
        return "the tasks that a joint strategy was trained on are not in the record"
    if any(params.get("student") for params in stages_of(record).values()):
        return "the hash of the student's own checkpoint is not in the record"
    if PATH in json.dumps(record.strategy.params):
        return "a path among the parameters was removed when the record was published"
    if record.strategy.name.count("+") >= len(stages_of(record)):
        return "the record has the parameters of a stage only once, but the stack has the stage twice"
    stages = stages_of(record).items()
    reasons = (_unknown_of_stage(name, params, record, registry) for name, params in stages)
    return next(filter(None, reasons), None)


def _unknown_of_stage(name: str, params: dict[str, Any], record: Record, registry: Registry) -> str | None:
    if name not in registry.strategies:
        return (
            f"the strategy {name!r} is not installed, and may depend on something that records do not include"
        )
    installed = registry.strategies[name]
    other_version = installed.version != record.strategy.version
    if params.get("learning_rate") is None and other_version:
        return (
            f"made by version {record.strategy.version} of {name!r}; the installed version {installed.version} may have "
            "another default learning rate"
        )
    try:
        if installed.item(installed.item.Params.model_validate(params)).input_files():
            return "the hashes of the user's files that a strategy read are not in the record"
    except Exception as error:  # unknown parameters; a plugin may raise anything
        # If the installed version made the record, invalid parameters mean that the record was changed.
        if other_version:
            return f"the installed {name!r} cannot take the parameters ({one_line(error)[:120]})"
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
            **({"revision": revision} if (revision := record.strategy.revisions.get(name)) else {}),
            **(TUNED if name in {tuning.strategy for tuning in record.tuning} else {}),
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
            teacher=_teacher_sha256(record),
            partners=partners,
        )
        for partners in ([], list(tasks))
    ]
