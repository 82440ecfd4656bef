"""Names of things by what they follow from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kdbench.api.task import TaskKind
from kdbench.budgets import Budget
from kdbench.records import SCHEMA_VERSION


def content_hash(content: object) -> str:
    """Return 20 hexadecimal digits of the SHA-256 of `content`'s canonical JSON."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:20]


def key_of_cell(
    stages: Sequence[Mapping[str, Any]],
    *,
    task: str,
    data: str,
    base: str,
    budget: Budget,
    seed: int,
    partners: Iterable[tuple[str, str]] = (),
    teacher: str | None = None,
) -> str:
    """Return the hash of all that a cell's quality follows from.

    Args:
        stages: of each stage of the strategy the name (``strategy``), every parameter with the learning rate spelled
            out (``params``) and, where it reads files of the user's, their SHA-256s (``files``).
        task: the task's name.
        data: the fingerprint of the task's data.
        base: the SHA-256 of the base model.
        budget: what every strategy gets alike.
        seed: the repetition.
        partners: of a joint strategy the name and the fingerprint of each task trained together, this one among them.
        teacher: the SHA-256 of the teacher that the user gave.
    """
    return content_hash(
        {
            "schema": SCHEMA_VERSION,
            "stages": list(stages),
            "task": task,
            "data": data,
            "base": base,
            "partners": sorted([name, fingerprint] for name, fingerprint in partners),
            **({"teacher": teacher} if teacher else {}),
            "budget": budget.identity(),
            "seed": seed,
        }
    )


def spelled_out(
    params: Mapping[str, Any], learning_rates: Mapping[TaskKind, float], kind: TaskKind
) -> dict[str, Any]:
    """Return `params` with the strategy's own learning rate for tasks of `kind` where the user set none."""
    given = params["learning_rate"]
    return {**params, "learning_rate": learning_rates[kind] if given is None else given}
