"""Batches of several tasks in one stream: each batch is of one task, and tells which."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import numpy as np
from torch.utils.data import Dataset

from kdbench.data.batches import Batch, Collator, length_grouped_batches


def task_order(sizes: Sequence[int], steps: int, exponents: tuple[float, float]) -> list[int]:
    """Return which task each step trains, by number.

    A step's shares are in proportion to ``size ** exponent``, where the exponent goes linearly from the first of
    `exponents` at the first step to the second at the last. Nothing is drawn by lot: the task that is furthest behind
    the sum of its shares comes next, so that few steps already hold the shares. A task too small for any step takes
    the last one of the most frequent task.

    Args:
        sizes: of each task, in batches a pass or in any other unit.
    """
    order: list[int] = []
    due = np.zeros(len(sizes))
    for exponent in np.linspace(*exponents, num=steps):
        weights = np.asarray(sizes, dtype=np.float64) ** exponent
        due += weights / weights.sum()
        order.append(int(due.argmax()))
        due[order[-1]] -= 1
    for left_out in set(range(len(sizes))) - set(order):
        most_frequent, steps_of_it = Counter(order).most_common(1)[0]
        if steps_of_it > 1:
            order[max(step for step, task in enumerate(order) if task == most_frequent)] = left_out
    return order


class JointRows(Dataset[dict[str, Any]]):
    """The training rows of several tasks behind each other; each row tells its ``task``."""

    def __init__(self, rows: Mapping[str, datasets.Dataset]) -> None:
        self._parts = list(rows.items())
        self.starts = list(itertools.accumulate((len(part) for _, part in self._parts), initial=0))[:-1]
        """The index of each task's first row."""

    def __len__(self) -> int:
        return self.starts[-1] + len(self._parts[-1][1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        number = bisect_right(self.starts, index) - 1
        task, part = self._parts[number]
        return {**part[index - self.starts[number]], "task": task}


def joint_batches(
    lengths: Sequence[Sequence[int]], batch_sizes: Sequence[int], order: Sequence[int], seed: int
) -> list[list[int]]:
    """Return the batches of a whole training, as indices into `JointRows`.

    Each task's own batches come in the order in which training on it alone would take them: of similar lengths, pass
    after pass.

    Args:
        lengths: each task's row lengths.
        batch_sizes: each task's rows a batch.
        order: the task of each step, by number.
        seed: of the order of rows.
    """
    streams = [
        length_grouped_batches(of_task, size, seed)
        for of_task, size in zip(lengths, batch_sizes, strict=True)
    ]
    starts = list(itertools.accumulate((len(of_task) for of_task in lengths), initial=0))
    return [[starts[task] + index for index in next(streams[task])] for task in order]


class JointCollator(Collator):
    """Pad the rows of one task to the longest of the batch, and name the task under ``task``."""

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> Batch:
        """Return the examples as one batch."""
        name: Any = examples[0]["task"]
        return {**super().__call__(examples), "task": name}
