"""What is worth knowing of a task's data before hours are spent on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from kdbench.api.task import TaskKind
from kdbench.data import PreparedTask
from kdbench.data.preparing import overlaps
from kdbench.plan import Plan, State
from kdbench.recording import majority_score

_LABELS_SHOWN = 6
_LARGE_SHARE = 0.05
"""Of texts truncated, or of word pieces unknown: beyond it a result says more of the model's fit than of a strategy."""


def preflight(plan: Plan) -> dict[str, list[str]]:
    """Return by task what its data is like, a line each: splits, lengths, labels, and what looks wrong.

    It is empty where data or base model are not on this machine yet.
    """
    prepared = {name: experiment.task for name, experiment in (plan.experiments or {}).items()}
    return {name: [*_of_one(task), *_of_joint(task, plan, prepared)] for name, task in prepared.items()}


def _of_one(prepared: PreparedTask) -> list[str]:
    lengths = np.asarray(prepared.train["length"][:])
    p50, p95 = np.percentile(lengths, [50, 95])
    return [
        f"{prepared.train_examples:,} train / {prepared.validation_examples:,} validation (of "
        f"{prepared.validation_split}) / {prepared.scored_examples:,} scored ({prepared.task.scored_split}) "
        f"examples from {prepared.source}",
        f"word pieces: half of the texts up to {p50:.0f}, 95% up to {p95:.0f}; {prepared.too_long_share:.1%} "
        f"{_LONG[prepared.task.kind]}; {prepared.unknown_share:.1%} of the pieces unknown to the tokenizer",
        *_labels(prepared),
        *_doubts(prepared),
    ]


_LONG = {
    TaskKind.SEQUENCE_CLASSIFICATION: "truncated",
    TaskKind.SEQUENCE_REGRESSION: "truncated",
    TaskKind.TOKEN_CLASSIFICATION: "split into several rows",
}


def _labels(prepared: PreparedTask) -> Iterator[str]:
    total = sum(prepared.label_counts.values())
    if not total:
        return
    ranked = sorted(prepared.label_counts.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{label} {count / total:.1%}" for label, count in ranked[:_LABELS_SHOWN])
    more = f" and {len(ranked) - _LABELS_SHOWN} more" if len(ranked) > _LABELS_SHOWN else ""
    majority = majority_score(prepared)
    baseline = (
        "" if majority is None else f"; {ranked[0][0]} always: {prepared.task.metric} {100 * majority:.1f}"
    )
    yield f"labels: {shown}{more}{baseline}"


def _doubts(prepared: PreparedTask) -> Iterator[str]:
    if prepared.too_long_share > _LARGE_SHARE and prepared.task.kind is not TaskKind.TOKEN_CLASSIFICATION:
        yield f"! {prepared.too_long_share:.0%} of the texts are truncated; a budget of more word pieces would see all"
    if prepared.unknown_share > _LARGE_SHARE:
        yield f"! {prepared.unknown_share:.0%} of the word pieces are unknown; is the model of the data's language?"
    if prepared.duplicates:
        yield f"! {prepared.duplicates:,} scored examples stand in train, too"
    absent = [label for label, count in prepared.label_counts.items() if not count]
    if absent:
        yield f"! no training example has the label {', '.join(absent)}"


def _of_joint(prepared: PreparedTask, plan: Plan, all_prepared: Mapping[str, PreparedTask]) -> Iterator[str]:
    """Yield what a joint strategy would learn of a task's scored examples from its other tasks."""
    partners = {
        task.name
        for planned in plan.cells
        if planned.cell.task.name == prepared.task.name and planned.state is not State.NOT_APPLICABLE
        for task in planned.cell.partners
    }
    for line in overlaps(prepared, [task for name, task in all_prepared.items() if name in partners]):
        yield f"! {line}: a joint strategy is trained on them"
