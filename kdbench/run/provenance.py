"""The parts of a record that say what was run."""

from __future__ import annotations

import numpy as np

from kdbench.api.spec import StrategySpec
from kdbench.api.strategy import spec_of
from kdbench.api.task import IGNORED, TaskKind
from kdbench.data import PreparedTask
from kdbench.evaluation.metrics import get_metric
from kdbench.evaluation.predictions import Predictions
from kdbench.registry import Registry
from kdbench.results.records import ModelInfo, StrategyInfo, TaskInfo
from kdbench.training.experiment import Experiment


def strategy_info(registry: Registry, spec: StrategySpec) -> StrategyInfo:
    """Return what a record says of the strategy, or the stack, that `spec` names."""
    strategy = registry.strategy(spec)
    stages = spec_of(strategy).stages
    registered = registry.strategies[strategy.name]
    control = registry.control(strategy)
    return StrategyInfo(
        name="+".join(stage.name for stage in stages),
        label=str(spec_of(strategy)),
        title=", then ".join(stage.title for stage in strategy.stages[-len(stages) :]),
        citation="; ".join(stage.citation for stage in strategy.stages[-len(stages) :]),
        family=strategy.family,
        params=strategy.params.model_dump(mode="json")
        if strategy.after is None
        else {stage.name: stage.params.model_dump(mode="json") for stage in strategy.stages},
        distribution=registered.distribution,
        version=registered.version,
        uses_teacher=any(stage.uses_teacher() for stage in strategy.stages[-len(stages) :]),
        control=str(spec_of(registry.strategy(control))) if control else None,
        note=" ".join(stage.note for stage in strategy.stages if stage.note),
    )


def task_info(prepared: PreparedTask) -> TaskInfo:
    """Return what a record says of a task."""
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
        too_long_share=prepared.too_long_share,
        unknown_share=prepared.unknown_share,
        licence=task.licence,
        citation=task.citation,
        majority_score=majority_score(prepared),
    )


def model_info(experiment: Experiment) -> ModelInfo:
    """Return what a record says of the base model and of a given teacher."""
    given = experiment.external_teacher
    return ModelInfo(
        name=experiment.base.name,
        weights_sha256=experiment.base.sha256,
        teacher=given.name if given else None,
    )


def majority_score(prepared: PreparedTask) -> float | None:
    """Return the headline metric of answering the most frequent training label always; None in regression."""
    task = prepared.task
    if task.kind is TaskKind.SEQUENCE_REGRESSION:
        return None
    labels = np.concatenate([np.atleast_1d(row) for row in prepared.scored["labels"]])
    references = labels[labels != IGNORED].astype(np.int64)
    logits = np.zeros((len(references), len(task.labels)), dtype=np.float32)
    logits[
        :, task.labels.index(max(prepared.label_counts, key=lambda label: prepared.label_counts[label]))
    ] = 1
    ids, offsets = np.arange(len(references)), None
    if task.kind is TaskKind.TOKEN_CLASSIFICATION:
        # Where one tag is answered always, sentence borders change nothing: one sentence will do.
        ids, offsets = np.zeros(1, dtype=np.int64), np.array([0, len(references)])
    return get_metric(task.metric).of(Predictions(ids, logits, references, offsets), task.labels)
