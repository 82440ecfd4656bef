"""Batches of several sizes and lengths, made up of the vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from kdbench.data.batches import Batch
from kdbench.seeds import axis_seed

BATCH_SIZES = (1, 8, 32)
LENGTHS = (16, 32, 64, 128)
GRID = tuple(
    sorted(
        ((size, length) for size in BATCH_SIZES for length in LENGTHS), key=lambda point: point[0] * point[1]
    )
)
"""Batch size and length of each point, from the fewest word pieces to the most."""


def vocabulary(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids of all word pieces but those with a meaning of their own."""
    return sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids))


def synthetic_batch(ids: Sequence[int], inputs: Iterable[str], batch_size: int, length: int) -> Batch:
    """Return `inputs`, each int64 ``(batch_size, length)``: word pieces drawn evenly from `ids`, all attended to.

    Args:
        ids: what to draw from.
        inputs: the names of what the model reads: ``input_ids``, ``attention_mask``, ``token_type_ids``.
        batch_size: sentences.
        length: word pieces of each.
    """
    draw = np.random.default_rng(axis_seed(batch_size * 1000 + length, "latency grid"))
    drawn = torch.from_numpy(draw.choice(np.asarray(ids, dtype=np.int64), (batch_size, length)))
    values = {"input_ids": drawn, "attention_mask": torch.ones_like(drawn)}
    return {name: values.get(name, torch.zeros_like(drawn)) for name in inputs}
