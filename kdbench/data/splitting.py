"""Which examples train, validate and score: stratified, seeded, the same for every strategy and seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kdbench.budgets import Budget
from kdbench.errors import UsageError
from kdbench.kinds import TaskKind

if TYPE_CHECKING:
    from datasets import Dataset

    from kdbench.data.loading import TaskData

Indices = npt.NDArray[np.int64]

_SEED = 20
"""Which examples are drawn is part of a task, not of a run: seeds of a run vary the training alone."""
_BINS = 10
_LARGEST_VALIDATION_SHARE = 5
"""Validation takes at most one in this many training examples."""


@dataclass(frozen=True)
class Choice:
    """Examples of the splits, by index in ascending order."""

    train: Indices
    unlabelled: Indices
    """Training examples that the budget leaves out and that validate nothing."""
    validation: Indices
    validation_split: str
    """The split that `validation` counts in: ``train``, or ``validation`` where the data brings one."""
    scored: Indices


def choose(data: TaskData, budget: Budget) -> Choice:
    """Return the examples that `budget` allows.

    Raises:
        UsageError: the training examples are too few, or too few groups, to split a validation part off.
    """
    kind = data.task.kind
    scored_rows = data.splits[data.task.scored_split]
    scored = stratified_order(strata(scored_rows, kind))[: budget.scored_examples]
    train_rows = data.splits["train"]
    order = stratified_order(strata(train_rows, kind))
    if "validation" in data.splits and data.task.scored_split != "validation":
        validation_rows = data.splits["validation"]
        validation = stratified_order(strata(validation_rows, kind))[: budget.validation_examples]
        validation_split, pool = "validation", order
    else:
        held = _held_out(data, order, budget.validation_examples)
        validation, pool = order[held[order]][: budget.validation_examples], order[~held[order]]
        validation_split = "train"
    # Validation is drawn from the order's front, training from its back: budgets of different size then nest.
    count = len(pool) if budget.train_examples is None else min(budget.train_examples, len(pool))
    return Choice(
        train=np.sort(pool[len(pool) - count :]),
        unlabelled=np.sort(pool[: len(pool) - count]),
        validation=np.sort(validation),
        validation_split=validation_split,
        scored=np.sort(scored),
    )


def stratified_order(strata: Indices, seed: int = _SEED) -> Indices:
    """Return a random order in which every prefix and every suffix holds the strata in their overall shares.

    The members of a stratum of n get the places 1/2n, 3/2n, … of the unit interval in random order.
    """
    shuffled = np.random.default_rng(seed).permutation(len(strata))
    by_stratum = shuffled[np.argsort(strata[shuffled], kind="stable")]
    sizes = np.unique(strata, return_counts=True)[1]
    places = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes]) if len(sizes) else np.empty(0)
    return by_stratum[np.argsort(places, kind="stable")]


def strata(rows: Dataset, kind: TaskKind) -> Indices:
    """Return each row's stratum: its label; a number's decile; for tokens the type of the first entity."""
    import pyarrow.compute as pc

    if kind is TaskKind.TOKEN_CLASSIFICATION:
        tags = rows.data.column("tags").to_pylist()
        names = np.array([next((tag[2:] for tag in row if tag != "O"), "") for row in tags])
        return np.unique(names, return_inverse=True)[1]
    labels = rows.data.column("label")
    if kind is TaskKind.SEQUENCE_REGRESSION:
        numbers = labels.to_numpy()
        numbers = np.searchsorted(np.quantile(numbers, np.arange(1, _BINS) / _BINS), numbers)
        return np.asarray(numbers, dtype=np.int64)
    return np.unique(pc.cast(labels, "string").to_numpy(zero_copy_only=False), return_inverse=True)[1]


def _held_out(data: TaskData, order: Indices, wanted: int) -> npt.NDArray[np.bool_]:
    """Return which training rows stay out of training for validation's sake; whole groups where there are any."""
    rows = data.splits["train"]
    allowed = len(rows) // _LARGEST_VALIDATION_SHARE
    wanted = min(wanted, allowed)
    held = np.zeros(len(rows), dtype=bool)
    if "group" not in rows.column_names:
        held[order[:wanted]] = True
    else:
        groups = np.unique(np.array(rows.data.column("group").to_pylist()), return_inverse=True)[1]
        sizes = np.bincount(groups)
        total = 0
        for group in np.random.default_rng(_SEED).permutation(len(sizes)):
            if total < wanted and total + sizes[group] <= allowed:
                held[groups == group] = True
                total += sizes[group]
    if not held.any():
        raise UsageError(
            f"task {data.task.name!r}: no validation part can be split off its {len(rows)} training examples "
            "(at most a fifth, in whole groups); add examples or a validation file"
        )
    return held
