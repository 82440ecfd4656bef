"""Adapt the rows of a run to a teacher that is a file of answers: there are no layers to start from and no hidden states."""

from __future__ import annotations

from kdbench.api.spec import StrategySpec
from kdbench.api.strategy import Strategy
from kdbench.registry import Registry
from kdbench.run.teacher_rows import stage_from_base


def with_answers(spec: StrategySpec, registry: Registry) -> StrategySpec:
    """Return `spec` with the parameters that its stages take where the teacher is a file of answers.

    A student that would start from the teacher's layers starts as one of a teacher whose layers do not fit.
    """
    return StrategySpec.of_stages([_stage_with_answers(stage, registry) for stage in spec.stages])


def _stage_with_answers(stage: StrategySpec, registry: Registry) -> StrategySpec:
    stage = stage_from_base(stage, registry)
    added = registry.strategies[stage.name].item.with_answers
    return stage.model_copy(update={"params": {**added, **stage.params}})


def answers_alone(strategy: Strategy) -> StrategySpec | None:
    """Return the row that learns from the answers alone as `strategy` does from answers and labels; None without one."""
    if not strategy.answers_alone or strategy.after is not None or strategy.tuned is not None:
        return None
    params = strategy.params.model_dump(mode="json", exclude_defaults=True)
    return StrategySpec(name=strategy.name, params={**params, **strategy.answers_alone})


def why_not_with_answers(strategy: Strategy, registry: Registry) -> str | None:
    """Return why `strategy` cannot learn from a file of answers, or None if it can or uses no teacher."""
    for stage in strategy.stages:
        if stage.teacher_outputs not in (None, "logits"):
            needed = str(stage.teacher_outputs).replace("_", " ")
            able = ", ".join(registry.learning_from_logits)
            return f"{stage.name} needs the teacher's {needed}, which a file of answers does not have; {able} learn from answers"
    return None
