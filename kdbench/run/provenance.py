"""Build the parts of a record that describe its strategy, task and model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kdbench.api.metric import Metric, get_metric
from kdbench.api.spec import StrategySpec
from kdbench.api.strategy import spec_of
from kdbench.api.task import IGNORED
from kdbench.data import PreparedTask
from kdbench.data.encoding import example_numbers
from kdbench.evaluation.metrics import METRICS
from kdbench.registry import Registry
from kdbench.results.records import ModelInfo, StrategyInfo, TaskInfo
from kdbench.training.experiment import Experiment
from kdbench.training.predict import predictions_of


def strategy_info(registry: Registry, spec: StrategySpec) -> StrategyInfo:
    """Return the record's description of the strategy or stack that `spec` names."""
    strategy = registry.strategy(spec)
    stages = spec_of(strategy).stages
    registered = registry.strategies[strategy.name]
    control, base_control = (
        spec and str(spec_of(registry.strategy(spec)))
        for spec in (registry.control(strategy), registry.base_control(strategy))
    )
    return StrategyInfo(
        name="+".join(stage.name for stage in stages),
        label=str(spec_of(strategy)),
        title=", then ".join(stage.title for stage in strategy.stages[-len(stages) :]),
        citation="; ".join(stage.citation for stage in strategy.stages[-len(stages) :]),
        family=strategy.family,
        params=strategy.params.model_dump(mode="json")
        if strategy.after is None
        else {stage.name: stage.params.model_dump(mode="json") for stage in strategy.stages},
        revisions={stage.name: stage.revision for stage in strategy.stages if stage.revision > 1},
        distribution=registered.distribution,
        version=registered.version,
        uses_teacher=any(stage.uses_teacher() for stage in strategy.stages[-len(stages) :]),
        control=control,
        base_control=base_control,
        derived_from=None if strategy.after is None else str(spec_of(strategy.after)),
        note=" ".join(stage.note for stage in strategy.stages if stage.note),
    )


def task_info(prepared: PreparedTask, metrics: Mapping[str, Metric] = METRICS) -> TaskInfo:
    """Return the record's description of a task; `metrics` are the registered ones."""
    task = prepared.task
    return TaskInfo(
        name=task.name,
        title=task.title,
        kind=task.kind,
        metric=task.metric,
        eval_split=task.eval_split,
        fingerprint=prepared.fingerprint,
        source=prepared.source,
        labels=task.labels,
        train_examples=prepared.train_examples,
        validation_examples=prepared.validation_examples,
        scored_examples=prepared.scored_examples,
        validation_split=prepared.validation_split,
        duplicates=prepared.duplicates,
        near_duplicates=prepared.near_duplicates,
        too_long_share=prepared.too_long_share,
        unknown_share=prepared.unknown_share,
        licence=task.licence,
        citation=task.citation,
        majority_score=majority_score(prepared, metrics),
    )


def model_info(experiment: Experiment) -> ModelInfo:
    """Return the record's description of the base model and of an external teacher."""
    teacher = experiment.answers or experiment.external_teacher
    answers = experiment.answer_teacher
    return ModelInfo(
        name=experiment.base.name,
        weights_sha256=experiment.base.sha256,
        teacher=teacher.name if teacher else None,
        teacher_sha256=experiment.external_teacher.sha256 if experiment.external_teacher else None,
        answers=answers.info if answers else None,
    )


def majority_score(prepared: PreparedTask, metrics: Mapping[str, Metric] = METRICS) -> float | None:
    """Return the headline metric of always predicting the most frequent training label; None if the kind has none."""
    task = prepared.task
    logits = task.kind.constant_logits(prepared.label_counts, task.labels)
    if logits is None:
        return None
    _, firsts = np.unique(example_numbers(prepared.scored), return_index=True)
    rows = prepared.scored["labels"][:]
    if not task.kind.per_word:
        rows = [rows[first] for first in firsts.tolist()]  # the windows of a text have the same label
    ids, offsets = np.arange(len(rows)), None
    if task.kind.per_word:
        # With one tag for every word, sentence boundaries make no difference: one sentence suffices.
        rows = [label for row in rows for label in row if label != IGNORED]
        ids, offsets = np.zeros(1, dtype=np.int64), np.array([0, len(rows)])
    references = np.asarray(rows)
    if references.dtype.kind == "f":
        references = references.astype(np.float32)
    predictions = predictions_of(
        task.kind, ids=ids, logits=np.tile(logits, (len(rows), 1)), references=references, offsets=offsets
    )
    return get_metric(task.metric, metrics).of(predictions, task.labels)
