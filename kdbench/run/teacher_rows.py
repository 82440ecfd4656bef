"""Adapt the rows of a run to a teacher that the user provides: where its students start, and what they can learn from it."""

from __future__ import annotations

from kdbench.api.spec import StrategySpec
from kdbench.api.strategy import Strategy
from kdbench.config import RunConfig
from kdbench.models.base import missing_model_downloads, resolve_base_model
from kdbench.models.external_teacher import gives_layers
from kdbench.registry import Registry
from kdbench.training.experiment import Experiment, student_of

_OTHER_STARTS = frozenset({"init", "hidden_size", "intermediate_size", "student"})
"""Parameters by which the user says where a student starts: a student of another width starts from random weights."""


def students_start_from_base(config: RunConfig) -> bool:
    """Return whether students start from the base model because the teacher's layers do not fit.

    Unknown, and so False, while one of the two models is not on this machine yet.
    """
    if config.teacher is None or any(
        missing_model_downloads(model, config.cache_dir) for model in (config.model, config.teacher)
    ):
        return False
    teacher = resolve_base_model(config.teacher, config.cache_dir, "--teacher")
    return not gives_layers(teacher.path, resolve_base_model(config.model, config.cache_dir).path)


def from_base(spec: StrategySpec, registry: Registry) -> StrategySpec:
    """Return `spec` with students that start from the base model's layers, unless the user says where they start."""
    return StrategySpec.of_stages([stage_from_base(stage, registry) for stage in spec.stages])


def stage_from_base(stage: StrategySpec, registry: Registry) -> StrategySpec:
    """Return the `stage` of a strategy as `from_base` does."""
    known = registry.strategies.get(stage.name)
    init = known and known.item.Params.model_fields.get("init")
    if not init or init.default != "teacher" or _OTHER_STARTS & stage.params.keys():
        return stage
    return stage.model_copy(update={"params": {**stage.params, "init": "base"}})


def why_not_matched(strategy: Strategy, experiment: Experiment, registry: Registry) -> str | None:
    """Return why `strategy` cannot learn from a teacher that reads other word pieces; None if it can or uses no teacher."""
    if not any(stage.teacher_outputs not in (None, "logits") for stage in strategy.stages):
        return None
    student = next(filter(None, map(student_of, strategy.stages)), None)
    other_splits = experiment.for_student(student).other_splits
    if other_splits is None:
        return None
    return f"{other_splits}; {', '.join(registry.learning_from_logits)} learn from its logits"
