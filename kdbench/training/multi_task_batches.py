"""Batch the rows of several tasks for joint training: one task per step, in proportion to the tasks' sizes."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import numpy as np
from torch.utils.data import ConcatDataset
from transformers import PreTrainedTokenizerBase

from kdbench.api.bench import Batch
from kdbench.api.kinds import TaskKind
from kdbench.data.batches import Collator, length_grouped_batches


def task_order(sizes: Sequence[int], steps: int, exponents: tuple[float, float]) -> list[int]:
    """Return the index of the task that each step trains.

    A task's share of each step is proportional to ``size ** exponent``, where the exponent changes linearly from the
    first of `exponents` at the first step to the second at the last. The order is deterministic: the task that is
    furthest behind the sum of its shares comes next, so that the shares hold even within few steps. A task too small
    for any step replaces the last step of the most frequent task.

    Args:
        sizes: of each task, in batches per epoch or in any other unit.
    """
    order: list[int] = []
    deficits = np.zeros(len(sizes))
    for exponent in np.linspace(*exponents, num=steps):
        weights = np.asarray(sizes, dtype=np.float64) ** exponent
        deficits += weights / weights.sum()
        order.append(int(deficits.argmax()))
        deficits[order[-1]] -= 1
    for left_out in set(range(len(sizes))) - set(order):
        most_frequent, count = Counter(order).most_common(1)[0]
        if count > 1:
            order[max(step for step, task in enumerate(order) if task == most_frequent)] = left_out
    return order


class JointRows(ConcatDataset[dict[str, Any]]):
    """The concatenated training rows of several tasks; each row names its ``task``."""

    def __init__(self, rows: Mapping[str, datasets.Dataset]) -> None:
        super().__init__(rows.values())
        self._tasks = list(rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        task = self._tasks[bisect_right(self.cumulative_sizes, index)]
        return {**super().__getitem__(index), "task": task}  # type: ignore[no-untyped-call]


def joint_batches(
    lengths: Sequence[Sequence[int]], batch_sizes: Sequence[int], order: Sequence[int], seed: int
) -> list[list[int]]:
    """Return the batches of a joint training, as indices into `JointRows`.

    Each task's batches are those of training on that task alone, in the same order: of similar lengths, epoch after
    epoch. `lengths` are those of each task's rows, `order` the index of each step's task.
    """
    streams = [
        length_grouped_batches(task_lengths, size, seed)
        for task_lengths, size in zip(lengths, batch_sizes, strict=True)
    ]
    starts = list(itertools.accumulate(map(len, lengths), initial=0))
    return [[starts[task] + index for index in next(streams[task])] for task in order]


class JointCollator(Collator):
    """Pads the rows of one task to the longest of the batch, and adds the task's name under ``task``."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, kinds: Mapping[str, TaskKind]) -> None:
        super().__init__(tokenizer, next(iter(kinds.values())))
        self._kinds = kinds

    def kind_of(self, examples: Sequence[Mapping[str, Any]]) -> TaskKind:
        """Return the kind of the task that `examples` belong to."""
        return self._kinds[examples[0]["task"]]

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> Batch:
        """Return `examples` as one batch."""
        name: Any = examples[0]["task"]
        return {**super().__call__(examples), "task": name}
