"""Define the model that attends to a learned prefix."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from kdbench_plugins._parameter_efficient import freeze_encoder
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from kdbench import FolderModel, UsageError, architecture_of, build_architecture, structure


class PrefixModel(FolderModel):
    """Wrap a model so that every layer attends to learned keys and values before those of the text.

    The prefix takes no positions: those of the text are unchanged. Models that accept keys and values from elsewhere get it
    so; others by an implementation of attention of this module's own. Where all layers share their weights, they share the
    prefix, too.

    Args:
        architecture: class and configuration of the model, from `architecture_of`.
        length: P, the number of prefix positions.
        base: the model to add the prefix to; by default a randomly initialized one.

    Raises:
        UsageError: the attention of this architecture takes no keys and values but the text's.
    """

    def __init__(
        self, architecture: dict[str, Any], length: int, base: PreTrainedModel | None = None
    ) -> None:
        super().__init__({"architecture": architecture, "length": length})
        self.model = base if base is not None else build_architecture(architecture)
        self.cached = "past_key_values" in inspect.signature(self.model.base_model.forward).parameters
        config = self.model.config
        self.layers, self.heads = config.num_hidden_layers, config.num_attention_heads
        self.head_size = config.hidden_size // self.heads
        if not self.cached:
            attentions = _attentions(self.model)
            self.layers, self.heads = len(attentions), attentions[0].key_heads
            self.head_size = attentions[0].head_size
            self.model.set_attn_implementation(_PREFIXED)
        self.prefix = nn.Parameter(torch.randn(length, self.layers * 2 * self.heads * self.head_size))
        """``(P, layers * 2 * width of keys)``: the input of `network`, or the keys and values themselves."""
        self.network: Reparameterization | None = None

    @classmethod
    def around(cls, base: PreTrainedModel, length: int, network_width: int | None) -> PrefixModel:
        """Return `base`, its pretrained weights frozen, with a random prefix.

        Args:
            network_width: hidden width of the reparameterization; None trains the keys and values directly.
        """
        model = cls(architecture_of(base), length, base)
        freeze_encoder(base)
        if network_width is not None:
            outputs = model.prefix.shape[1]
            width = base.config.hidden_size
            model.prefix = nn.Parameter(torch.randn(length, width))
            model.network = Reparameterization(width, network_width, outputs)
        return model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **inputs: Any) -> Any:
        """Return the output of the wrapped model; its attentions have the prefix before the text."""
        prefix = self._keys_and_values(input_ids.shape[0])
        if not self.cached:
            modules = [attention.module for attention in _attentions(self.model)]
            inputs[_ARGUMENT] = dict(zip(modules, prefix, strict=True))
            return self.model(input_ids=input_ids, attention_mask=attention_mask, **inputs)
        ones = attention_mask.new_ones(len(input_ids), len(self.prefix))
        return self.model(
            input_ids=input_ids,
            attention_mask=torch.cat([ones, attention_mask], 1),
            past_key_values=_Prefix(prefix),
            **inputs,
        )

    @torch.no_grad()
    def fold(self) -> PrefixModel:
        """Replace the network and its input by the network's output (Li and Liang 2021, section 4.3); return the model."""
        if self.network is not None:
            self.prefix = nn.Parameter(self.network(self.prefix))
            self.network = None
        return self

    def _keys_and_values(self, batch: int) -> list[tuple[Tensor, Tensor]]:
        """Return per layer keys and values ``(batch, heads, P, width of a head)``."""
        flat = self.prefix if self.network is None else self.network(self.prefix)
        layers = flat.view(len(flat), self.layers, 2, self.heads, self.head_size).permute(1, 2, 3, 0, 4)
        return [(keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1)) for keys, values in layers]


class Reparameterization(nn.Module):
    """Compute a prefix from a smaller matrix, which stabilizes training (Li and Liang 2021, section 4.3).

    Args:
        inputs: width of the smaller matrix.
        width: width of the hidden layer.
        outputs: total width of the keys and values of all layers.
    """

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, outputs))

    def forward(self, prefix: Tensor) -> Tensor:
        """Return ``(P, outputs)`` for the matrix `prefix` ``(P, inputs)``."""
        return self.layers(prefix)


def _attentions(model: PreTrainedModel) -> tuple[structure.Attention, ...]:
    """Return the attention of each layer of `model`, or of the one that all share.

    Raises:
        UsageError: see `PrefixModel`.
    """
    attentions = structure.attentions_of(model, "prefix-tuning")
    if not model._supports_attention_backend:
        raise UsageError(
            f"strategy 'prefix-tuning': {type(model).__name__} adds to its scores what it knows of the relative positions of "
            "the text's word pieces, of which a prefix has none; take lora or adapter-pfeiffer"
        )
    return attentions


def _prefixed_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **others: Any
) -> tuple[Tensor, Tensor | None]:
    """Attend to the prefix of `module`, too, from every position; an implementation of attention for transformers.

    Queries and keys arrive rotated where the model rotates them; the prefix's keys are not, since they have no positions.

    Args:
        module: the module that attends.
        query: ``(batch, heads, sequence, width of a head)``; `key` and `value` may have fewer heads.
        attention_mask: True where a pair of positions attends, ``(batch, 1, sequence, sequence)``; None if all do.
        others: arguments of transformers' own implementation, and the prefixes by module, each keys and values
            ``(batch, heads, P, width of a head)``.
    """
    keys, values = (part.to(key.dtype) for part in others.pop(_ARGUMENT)[module])
    if attention_mask is not None:
        attention_mask = functional.pad(attention_mask, (keys.shape[2], 0), value=True)
    joined = torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)
    return sdpa_attention_forward(module, query, *joined, attention_mask, **others)


_ARGUMENT = "kdbench_prefixes"
"""The name of the argument that models hand down to their attention."""
_PREFIXED = "kdbench-prefix"
"""The name of `_prefixed_attention` among the implementations that transformers knows."""
AttentionInterface.register(_PREFIXED, _prefixed_attention)
AttentionMaskInterface.register(_PREFIXED, sdpa_mask)


class _Prefix(DynamicCache):
    """Cache keys and values of length 0, so that texts start at the position that the model was pretrained with."""

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return 0: the prefix takes no positions."""
        return 0
