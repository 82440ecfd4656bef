"""Whether scores and intervals are those of the stored predictions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from kdbench.errors import KdbenchError
from kdbench.evaluation.diagnostics import select_examples
from kdbench.evaluation.metrics import METRICS, get_metric
from kdbench.evaluation.predictions import Predictions
from kdbench.results.records import Quality, Record
from kdbench.stats import bootstrap_interval
from kdbench.verify.folder import LARGEST_PREDICTIONS_BYTES, HandedIn
from kdbench.verify.report import Report

TOLERANCE = 1e-9
"""Sums in another order, as another machine's libraries make them, differ by less."""
MOST_EXAMPLES = 200_000
"""A bootstrap over more would take minutes."""
MOST_LABELS = 4096

_REMEDY = "run the cell again"


def check_scores(place: str, record: Record, folder: HandedIn, report: Report) -> Predictions | None:
    """Recompute every score of `record` from its predictions, and return these where they can be read."""
    quality = record.quality
    if quality is None:
        return None
    name = f"predictions/{record.key}.safetensors"
    answers = load_predictions(name, record, folder, report)
    if answers is None:
        report.leave(place, "scores: there are no predictions that they could be recomputed from")
        return None
    report.checked["scores"] += 1
    if len(answers) != record.task.scored_examples:
        report.problem(
            name, f"{len(answers)} examples, but the record tells of {record.task.scored_examples}", _REMEDY
        )
    unknown = sorted(set(quality.metrics) - set(METRICS))
    for metric in unknown:
        report.leave(place, f"scores: the metric {metric!r} is none of kdbench's")
    try:
        for line in _differences(quality, answers, record):
            report.problem(place, f"{line} from the stored predictions", _REMEDY)
        _check_interval(place, quality, answers, record, report)
        _check_noisy(place, quality, answers, record, folder, report)
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
    if not answers.is_regression and answers.logits.shape[1] != labels:
        report.problem(
            name, f"{answers.logits.shape[1]} classes, but the record has {labels} labels", _REMEDY
        )
        return None
    if len(np.unique(answers.ids)) != len(answers):
        report.problem(name, "an example is answered twice", _REMEDY)
        return None
    return answers


def test_set(answers: Predictions) -> str:
    """Return a hash of the examples and their right answers, in whatever order they were answered."""
    ordered = select_examples(answers, np.sort(answers.ids))
    digest = hashlib.sha256(ordered.ids.astype("<i8").tobytes())
    digest.update(ordered.references.astype("<f8").tobytes())
    if ordered.offsets is not None:
        digest.update(ordered.offsets.astype("<i8").tobytes())
    return digest.hexdigest()


def _differences(quality: Quality, answers: Predictions, record: Record) -> Iterator[str]:
    told = {name: value for name, value in quality.metrics.items() if name in METRICS}
    if record.task.metric in METRICS:
        told.setdefault(record.task.metric, quality.score)
    for name, value in told.items():
        found = get_metric(name).of(answers, record.task.labels)
        if abs(found - value) > TOLERANCE:
            yield f"{name} is told as {value} and comes out as {found}"


def _check_interval(
    place: str, quality: Quality, answers: Predictions, record: Record, report: Report
) -> None:
    if record.task.metric not in METRICS:
        return
    if len(answers) > MOST_EXAMPLES:
        report.leave(place, f"intervals: more than {MOST_EXAMPLES:,} examples")
        return
    report.checked["intervals"] += 1
    metric = get_metric(record.task.metric)
    low, high = bootstrap_interval(metric.statistics(answers, record.task.labels)[None], metric.score)
    if abs(low - quality.low) > TOLERANCE or abs(high - quality.high) > TOLERANCE:
        report.problem(
            place,
            f"the interval is told as {quality.low} to {quality.high} and comes out as {low} to {high} from the stored "
            "predictions",
            _REMEDY,
        )


def _check_noisy(
    place: str, quality: Quality, answers: Predictions, record: Record, folder: HandedIn, report: Report
) -> None:
    if quality.noisy_score is None or record.task.metric not in METRICS:
        return
    name = f"predictions/{record.key}.noisy.safetensors"
    noisy = load_predictions(name, record, folder, report)
    if noisy is None:
        report.leave(place, "noisy scores: there are no predictions that they could be recomputed from")
        return
    report.checked["noisy scores"] += 1
    metric, labels = get_metric(record.task.metric), record.task.labels
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
