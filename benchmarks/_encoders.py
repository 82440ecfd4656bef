"""Encoders with random weights, as wide as the embedded model, and sentences for them: what the benchmarks of latency time."""

from __future__ import annotations

import numpy as np
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from kdbench.api.bench import Batch
from kdbench.measure.timing import synthetic_batch

VOCABULARY = 30_522


def encoder(layers: int) -> nn.Module:
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=384,
        num_hidden_layers=layers,
        num_attention_heads=12,
        intermediate_size=1536,
    )
    return BertForSequenceClassification(config).eval()


def sentences(count: int) -> list[Batch]:
    """Return single sentences of 8 to 60 word pieces, 28 on average."""
    lengths = np.clip(np.random.default_rng(0).gamma(4, 7, count), 8, 60).astype(int)
    names = ("input_ids", "attention_mask", "token_type_ids")
    return [synthetic_batch(range(1000, VOCABULARY), names, 1, int(length)) for length in lengths]
