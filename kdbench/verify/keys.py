"""Whether a record's key is the hash of what the record says was run."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any

from kdbench.api.strategy import JointStrategy
from kdbench.errors import one_line
from kdbench.publish.privacy import PATH
from kdbench.registry import Registry
from kdbench.results.records import Record, key_of_cell, spelled_out
from kdbench.verify.report import Report


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
    return all(
        params["learning_rate"] is not None
        or (name in registry.strategies and record.task.kind in registry.strategies[name].item.learning_rates)
        for name, params in stages_of(record).items()
    )


def _keys(record: Record, tasks: Iterable[tuple[str, str]], registry: Registry) -> list[str]:
    stages = [
        {
            "strategy": name,
            "params": spelled_out(
                params,
                registry.strategies[name].item.learning_rates if name in registry.strategies else {},
                record.task.kind,
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
