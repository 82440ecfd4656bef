"""Compute the keys of cells and of searches: hashes of everything that their scores depend on."""

from __future__ import annotations

from collections.abc import Sequence

from kdbench.api.strategy import JointStrategy, Strategy
from kdbench.data.readers import readable
from kdbench.models.base import resolve_base_model
from kdbench.results.records import key_of_cell, spelled_out
from kdbench.results.tuning import TUNED
from kdbench.training.experiment import Experiment, student_of
from kdbench.utils.files import sha256

TUNING_SEEDS = tuple(range(1_000_000, 1_000_005))
"""The seeds of trials; those of boards count from 0, and there are at most 100."""


def cell_key(
    strategy: Strategy, experiment: Experiment, seed: int, partners: Sequence[Experiment] = ()
) -> str:
    """Return the hash of everything that the quality of `strategy` on the task of `experiment` depends on.

    Args:
        partners: for a joint strategy, the experiments that it trains on together, including this one.

    Raises:
        UsageError: a file that the strategy reads is missing or cannot be read.
    """
    teacher = experiment.answers or experiment.external_teacher
    stages = [
        {
            "strategy": stage.name,
            "params": spelled_out(
                stage.params.model_dump(mode="json"), stage.learning_rates, experiment.kind
            ),
            **({"revision": stage.revision} if stage.revision > 1 else {}),
            **({} if stage.tuned is None else TUNED),
            **_input_hashes(stage),
            **_student_hash(stage, experiment),
        }
        for stage in strategy.stages
    ]
    return key_of_cell(
        stages,
        task=experiment.task.task.name,
        data=experiment.task.fingerprint,
        base=experiment.base.sha256,
        budget=experiment.budget,
        seed=seed,
        partners=[(other.task.task.name, other.task.fingerprint) for other in partners],
        teacher=teacher.sha256 if teacher else None,
    )


def study_key(strategy: Strategy, experiments: Sequence[Experiment]) -> str:
    """Return the key of the search for parameters of `strategy`: that of a cell with a seed that no board has.

    Args:
        experiments: that of the task; for a joint strategy, of all tasks that it trains on together.
    """
    partners = experiments if isinstance(strategy, JointStrategy) else ()
    return cell_key(strategy, experiments[0], TUNING_SEEDS[0], partners)


def _student_hash(strategy: Strategy, experiment: Experiment) -> dict[str, str]:
    checkpoint = student_of(strategy)
    if checkpoint is None:
        return {}
    return {"student": resolve_base_model(checkpoint, experiment.cache_dir, "student").sha256}


def _input_hashes(strategy: Strategy) -> dict[str, list[str]]:
    hashes = []
    for path in strategy.input_files():
        with readable(path):
            hashes.append(sha256(path))
    return {"files": hashes} if hashes else {}
