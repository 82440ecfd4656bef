"""Choose the examples for training, validation and scoring: stratified, and the same for every strategy and seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kdbench.api.kind import factorize
from kdbench.budgets import Budget
from kdbench.errors import UsageError

if TYPE_CHECKING:
    from datasets import Dataset

    from kdbench.data.loading import TaskData

Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_SEED = 20
"""A fixed seed: the chosen examples belong to the task, and the seeds of a run vary only the training."""
_LARGEST_VALIDATION_SHARE = 5
"""Validation takes at most one in this many training examples."""


@dataclass(frozen=True)
class Choice:
    """The chosen examples of each split, as indices in ascending order."""

    train: Indices
    unlabelled: Indices
    """Training examples that exceed the budget and are not used for validation."""
    validation: Indices
    validation_split: str
    """The split that `validation` indexes: ``train``, or ``validation`` if the data has one."""
    scored: Indices
    scored_split: str
    """The split that `scored` indexes."""


def choose(data: TaskData, budget: Budget) -> Choice:
    """Choose the examples that `budget` allows.

    Raises:
        UsageError: there are too few training examples or groups to hold out a validation split.
    """
    scored = _order(data, data.task.eval_split)[: budget.scored_examples]
    order = _order(data, "train")
    if "validation" in data.splits and data.task.eval_split != "validation":
        split, pool = "validation", order
        validation = _order(data, "validation")[: budget.validation_examples]
    else:
        split, held = "train", _held_out_validation(data, order, budget)
        validation = order[held[order]][: budget.validation_examples]
        pool = order[~held[order]]
    if budget.labels is not None:
        # Validation examples are labels, too: with 16 labels to train on, 500 to choose the weights by would be the more.
        validation = validation[: budget.labels]
        pool = each_stratum_last(pool, _strata(data, "train"))
    # Validation is taken from the front of the order and training from the back, so that a smaller budget's
    # examples are a subset of a larger one's, in both unless groups are held out.
    left_out = 0 if budget.train_examples is None else max(0, len(pool) - budget.train_examples)
    return Choice(
        train=np.sort(pool[left_out:]),
        unlabelled=np.sort(pool[:left_out]),
        validation=np.sort(validation),
        validation_split=split,
        scored=np.sort(scored),
        scored_split=data.task.eval_split,
    )


TUNING_EXAMPLES = 1000
"""A search of parameters scores each trial on so many examples, where the data allow."""


def choose_for_tuning(data: TaskData, budget: Budget) -> Choice:
    """Choose the examples for a search of parameters; those to score on are not in the split that boards score.

    They are examples that the budget does not train on, of groups that it does not train on; nothing else uses them.
    Where the budget leaves fewer than it validates on, they are the validation examples, and more of that split if the
    data has one. At a label count they are the validation examples alone: all others would be further labels.
    """
    choice = choose(data, budget)
    if budget.labels is not None:
        return replace(choice, scored=choice.validation, scored_split=choice.validation_split)
    wanted = min(TUNING_EXAMPLES, len(choice.unlabelled))
    if wanted >= len(choice.validation):
        order = _order(data, "train")
        pool = order[np.isin(order, np.concatenate([choice.train, choice.unlabelled]))]
        held = hold_out(np.arange(len(pool)), groups_of(data, "train", pool), wanted, len(choice.unlabelled))
        if held.sum() >= wanted:
            rest = pool[~held]
            left_out = len(rest) - len(choice.train)
            return replace(
                choice,
                train=np.sort(rest[left_out:]),
                unlabelled=np.sort(rest[:left_out]),
                scored=np.sort(pool[held][:wanted]),
                scored_split="train",
            )
    split, scored = choice.validation_split, choice.validation
    if split == "validation":
        scored = np.sort(_order(data, split)[: max(TUNING_EXAMPLES, len(scored))])
    return replace(choice, scored=scored, scored_split=split)


def hold_out(order: Indices, groups: Indices | None, target: int, limit: int) -> Mask:
    """Return a mask of the examples to hold out: about `target`, never more than `limit`.

    Without `groups` these are the first of `order`; otherwise whole groups in random order, as far as they fit.
    """
    held = np.zeros(len(order), dtype=bool)
    if groups is None:
        held[order[: min(target, limit)]] = True
        return held
    sizes = np.bincount(groups)
    chosen = []
    total = 0
    for group in np.random.default_rng(_SEED).permutation(len(sizes)):
        if total < target and total + sizes[group] <= limit:
            chosen.append(group)
            total += sizes[group]
    held[np.isin(groups, chosen)] = True
    return held


def stratified_order(strata: Indices) -> Indices:
    """Return a seeded random order in which every prefix and every suffix has the strata in their overall proportions.

    The members of a stratum of size n get the positions 1/2n, 3/2n, … of the unit interval in random order.
    """
    shuffled = np.random.default_rng(_SEED).permutation(len(strata))
    by_stratum = shuffled[np.argsort(strata[shuffled], kind="stable")]
    positions = [(np.arange(size) + 0.5) / size for size in np.unique(strata, return_counts=True)[1]]
    return by_stratum[np.argsort(np.concatenate(positions), kind="stable")]


def each_stratum_last(pool: Indices, strata: Indices) -> Indices:
    """Return `pool` with one example of each stratum moved to its end, so that short suffixes have each.

    These are the last examples of their strata: a suffix that has every stratum already is left as it is. Suffixes
    shorter than the number of strata have the frequent ones.
    """
    _, from_end = np.unique(strata[pool][::-1], return_index=True)
    is_last = np.zeros(len(pool), dtype=bool)
    is_last[len(pool) - 1 - from_end] = True
    return np.concatenate([pool[~is_last], pool[is_last]])


def _order(data: TaskData, split: str) -> Indices:
    return stratified_order(_strata(data, split))


def _strata(data: TaskData, split: str) -> Indices:
    kind = data.task.kind
    return kind.strata(_column(data.splits[split], kind.label_column))


_MORE_GROUPS = 4
"""Groups are held out until they have up to this many times the examples to validate on, which are taken of all of them."""


def _held_out_validation(data: TaskData, order: Indices, budget: Budget) -> Mask:
    """Return a mask of the training examples to hold out for validation, or more where these are groups.

    Answers within a group are alike: 500 phrases of 50 sentences say less than 500 of 200. Half of what the budget leaves
    untouched may go into more groups.
    """
    rows, groups, target = data.splits["train"], groups_of(data), budget.validation_examples
    limit = len(rows) // _LARGEST_VALIDATION_SHARE
    if groups is not None and budget.train_examples is not None:
        spare = (len(rows) - budget.train_examples) // 2
        target = max(target, min(_MORE_GROUPS * target, spare))
    held = hold_out(order, groups, min(target, limit), limit)
    if not held.any():
        raise UsageError(
            f"task {data.task.name!r}: no validation split can be held out of its {len(rows)} training examples "
            "(at most a fifth, in whole groups); add examples, or a file of them (validation in a config file)"
        )
    return held


def groups_of(data: TaskData, split: str = "train", examples: Indices | None = None) -> Indices | None:
    """Return the number of the group of each example of a split, or of `examples`; None for data without groups."""
    rows = data.splits[split]
    if "group" not in rows.column_names:
        return None
    groups = factorize(_column(rows, "group"))
    return groups if examples is None else groups[examples]


def _column(rows: Dataset, name: str) -> Iterator[Any]:
    """Yield the values of a column, loading one chunk at a time."""
    for chunk in rows.data.column(name).chunks:
        yield from chunk.to_pylist()
