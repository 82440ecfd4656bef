"""Draw the masks of dropout on CPU from 16 random bits per value, in a quarter of the time that torch takes.

torch draws each value of a mask on its own, which takes as long as a third of a small encoder's forward pass. Its fused
attention kernels draw in the same way, and without dropout their backward pass in bfloat16 takes several times as long
as that of plain matrix products; hence the attention below.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask

from kdbench.training.device import pick_device

_BITS = 16
_ATTENTION = "kdbench"
"""The name of `attention` among the implementations that transformers knows."""
_ARCHITECTURES = ("bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta")
"""Model types whose attention is what `attention` computes: as many heads of keys as of queries, nothing added."""


@contextmanager
def quick_dropout(model: nn.Module) -> Iterator[None]:
    """Let the dropout layers and the attention of `model` draw their masks quickly, inside the context.

    The context has no effect on other devices than the CPU. It leaves attention alone in architectures other than
    BERT's, and where another implementation than torch's fused kernels was chosen.
    """
    if pick_device().type != "cpu":
        yield
        return
    layers = [module for module in model.modules() if type(module) is nn.Dropout]
    for layer in layers:
        layer.__class__ = QuickDropout  # the object stays, with its name, mode and hooks
    encoders = _choose_attention(model)
    try:
        yield
    finally:
        for layer in layers:
            layer.__class__ = nn.Dropout
        for encoder in encoders:
            encoder.set_attn_implementation("sdpa")


def _choose_attention(model: nn.Module) -> list[PreTrainedModel]:
    """Switch the outermost encoders of `model` to `attention`, and return them."""
    encoders = []
    for module in model.modules():
        if not isinstance(module, PreTrainedModel) or module.config.model_type not in _ARCHITECTURES:
            continue
        if module.config._attn_implementation == "sdpa" and not getattr(module.config, "is_decoder", False):
            module.set_attn_implementation(_ATTENTION)
            encoders.append(module)
    return encoders


class QuickDropout(nn.Dropout):
    """Dropout by `dropout`; the same layer as torch's otherwise."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        """Return `input` with masked values in training, and unchanged in evaluation."""
        return dropout(input, self.p) if self.training else input


def dropout(values: Tensor, p: float) -> Tensor:
    """Return `values` with a fraction `p` of them set to 0 and the others divided by 1 - p; p is rounded to 1/65536."""
    if p == 0:
        return values
    if p == 1:
        return torch.zeros_like(values)
    return values * _mask(values.shape, p, values.dtype)


def _mask(shape: Sequence[int], p: float, dtype: torch.dtype) -> Tensor:
    size = math.prod(shape)
    words = torch.randint(-(2**63), 2**63 - 1, (math.ceil(size * _BITS / 64),))
    bits = words.view(torch.int16)[:size].view(*shape)
    lowest_kept = round(p * 2**_BITS) - 2 ** (_BITS - 1)
    kept: Tensor = bits >= lowest_kept
    return kept.to(dtype).mul_(1 / (1 - p))


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """Return the attention ``(batch, sequence, heads, width)`` and its weights, as transformers' implementations do.

    Args:
        query: ``(batch, heads, sequence, width)``, like `key` and `value`.
        attention_mask: added to the scores, ``(batch, 1, sequence, sequence)``.
        scaling: the factor of the scores; by default one over the root of the width.
        dropout: the fraction of weights set to 0.
    """
    if not dropout and query.dtype == torch.float32:  # where the fused kernel is the fastest
        fused, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, is_causal=False, **others
        )
        return fused, None
    scores = (query * (scaling or query.shape[-1] ** -0.5)) @ key.transpose(-1, -2)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(dim=-1)
    if dropout:
        weights = weights * _mask(weights.shape, dropout, weights.dtype)
    return (weights @ value).transpose(1, 2).contiguous(), weights


AttentionInterface.register(_ATTENTION, attention)
AttentionMaskInterface.register(_ATTENTION, eager_mask)
