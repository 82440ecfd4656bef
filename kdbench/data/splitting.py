"""Which examples train, validate and score: stratified, seeded, the same for every strategy and seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kdbench.api.kinds.base import factorize
from kdbench.budgets import Budget
from kdbench.errors import UsageError

if TYPE_CHECKING:
    from datasets import Dataset

    from kdbench.data.loading import TaskData

Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_SEED = 20
"""Which examples are drawn belongs to a task, not to a run: the seeds of a run vary the training alone."""
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
        UsageError: the training examples or their groups are too few to split a validation part off.
    """
    scored = _order(data, data.task.eval_split)[: budget.scored_examples]
    order = _order(data, "train")
    if "validation" in data.splits and data.task.eval_split != "validation":
        split, pool = "validation", order
        validation = _order(data, "validation")[: budget.validation_examples]
    else:
        split, held = "train", _validation_part(data, order, budget.validation_examples)
        validation = order[held[order]][: budget.validation_examples]
        pool = order[~held[order]]
    # Validation comes from the order's front, training from its back: then a smaller budget's examples are
    # among a larger one's, on either side.
    left_out = 0 if budget.train_examples is None else max(0, len(pool) - budget.train_examples)
    return Choice(
        train=np.sort(pool[left_out:]),
        unlabelled=np.sort(pool[:left_out]),
        validation=np.sort(validation),
        validation_split=split,
        scored=np.sort(scored),
    )


def hold_out(order: Indices, groups: Indices | None, wanted: int, most: int) -> Mask:
    """Return which examples to keep apart: about `wanted`, never more than `most`.

    Without `groups` they are the first of `order`; otherwise whole groups in random order, those that fit.
    """
    held = np.zeros(len(order), dtype=bool)
    if groups is None:
        held[order[: min(wanted, most)]] = True
        return held
    sizes = np.bincount(groups)
    chosen = []
    total = 0
    for group in np.random.default_rng(_SEED).permutation(len(sizes)):
        if total < wanted and total + sizes[group] <= most:
            chosen.append(group)
            total += sizes[group]
    held[np.isin(groups, chosen)] = True
    return held


def stratified_order(strata: Indices) -> Indices:
    """Return a seeded random order in which every prefix and every suffix holds the strata in their overall shares.

    The members of a stratum of n take the places 1/2n, 3/2n, … of the unit interval in random order.
    """
    shuffled = np.random.default_rng(_SEED).permutation(len(strata))
    by_stratum = shuffled[np.argsort(strata[shuffled], kind="stable")]
    places = [(np.arange(size) + 0.5) / size for size in np.unique(strata, return_counts=True)[1]]
    return by_stratum[np.argsort(np.concatenate(places), kind="stable")]


def _order(data: TaskData, split: str) -> Indices:
    kind = data.task.kind
    return stratified_order(kind.strata(_column(data.splits[split], kind.label_column)))


def _validation_part(data: TaskData, order: Indices, wanted: int) -> Mask:
    """Return which training examples stay out of training for validation's sake."""
    rows = data.splits["train"]
    most = len(rows) // _LARGEST_VALIDATION_SHARE
    groups = factorize(_column(rows, "group")) if "group" in rows.column_names else None
    held = hold_out(order, groups, min(wanted, most), most)
    if not held.any():
        raise UsageError(
            f"task {data.task.name!r}: no validation part can be split off its {len(rows)} training examples "
            "(at most a fifth, in whole groups); add examples or a validation file"
        )
    return held


def _column(rows: Dataset, name: str) -> Iterator[Any]:
    """Yield the values of a column a chunk at a time."""
    for chunk in rows.data.column(name).chunks:
        yield from chunk.to_pylist()
