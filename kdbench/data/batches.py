"""Batch encoded examples: grouped by similar length, padded to the longest of the batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import BatchSampler, Sampler
from transformers import PreTrainedTokenizerBase

from kdbench.api.bench import Batch
from kdbench.api.kinds import TaskKind

Pooling = Literal["mean", "max"]
"""How a text's logits are made from those of its windows."""
_BATCHES_SORTED_TOGETHER = 50


class LengthGroupedSampler(Sampler[int]):
    """Yields the indices of one epoch, such that each `batch_size` consecutive ones have similar lengths.

    The order depends only on the seed and the epoch, never on a strategy's own random draws. This is the Trainer's
    ``group_by_length``, whose order however depends on the global random state.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = np.asarray(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng([self._seed, self._epoch])
        self._epoch += 1
        order = generator.permutation(len(self._lengths))
        pool = self._batch_size * _BATCHES_SORTED_TOGETHER
        batches = []
        for start in range(0, len(order), pool):
            chunk = order[start : start + pool]
            chunk = chunk[np.argsort(self._lengths[chunk], kind="stable")]
            batches += [chunk[i : i + self._batch_size] for i in range(0, len(chunk), self._batch_size)]
        # A short batch stays last: anywhere else it would shift the boundaries of all later batches.
        full = [batch for batch in batches if len(batch) == self._batch_size]
        short = [batch for batch in batches if len(batch) < self._batch_size]
        generator.shuffle(full)
        for batch in full + short:
            yield from batch.tolist()


def length_grouped_batches(lengths: Sequence[int], batch_size: int, seed: int) -> Iterator[list[int]]:
    """Yield the batches of one epoch after another, each of similar lengths; the last of an epoch may be short."""
    epoch = BatchSampler(LengthGroupedSampler(lengths, batch_size, seed), batch_size, drop_last=False)
    while True:
        yield from epoch


class Collator:
    """Collates encoded examples of one kind of task, padded to the longest of the batch."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, kind: TaskKind, pooling: Pooling = "mean") -> None:
        self.kind = kind
        self.pooling = pooling
        """How predictions join the windows of a text, if it has several."""
        self._inputs = [name for name in tokenizer.model_input_names if name != "attention_mask"]
        self._padding = {"input_ids": tokenizer.pad_token_id or 0}

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> Batch:
        """Return `examples` as one batch."""
        longest = max(len(example["input_ids"]) for example in examples)
        batch = {
            name: pad_sequence(
                [torch.tensor(example[name], dtype=torch.long) for example in examples],
                batch_first=True,
                padding_value=self._padding.get(name, 0),
            )
            for name in self._inputs
            if name in examples[0]
        }
        lengths = torch.tensor([len(example["input_ids"]) for example in examples])
        batch["attention_mask"] = (torch.arange(longest) < lengths[:, None]).long()
        batch["labels"] = self.kind_of(examples).collate_labels(
            [example["labels"] for example in examples], longest
        )
        batch["id"] = torch.tensor([example["id"] for example in examples])
        return batch

    def kind_of(self, examples: Sequence[Mapping[str, Any]]) -> TaskKind:
        """Return the kind of the task that `examples` belong to."""
        return self.kind
