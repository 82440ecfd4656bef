"""Build the model that attends to a learned prefix."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from kdbench import FolderModel, UsageError, architecture_of, build_architecture


class PrefixModel(FolderModel):
    """A model whose every layer attends to learned keys and values before those of the text.

    The text keeps its positions: the prefix takes none.

    Args:
        architecture: class and configuration of the model, from `architecture_of`.
        length: P, the number of prefix positions.
        base: the model that takes the prefix, as it is; by default one of random weights.

    Raises:
        UsageError: the architecture has no place for keys and values from elsewhere.
    """

    def __init__(
        self, architecture: dict[str, Any], length: int, base: PreTrainedModel | None = None
    ) -> None:
        super().__init__({"architecture": architecture, "length": length})
        self.model = base if base is not None else build_architecture(architecture)
        if "past_key_values" not in inspect.signature(self.model.base_model.forward).parameters:
            raise UsageError(
                f"strategy 'prefix-tuning': {type(self.model).__name__} takes no keys and values from elsewhere; "
                "take a model like BERT, RoBERTa, XLM-RoBERTa, CamemBERT or ELECTRA"
            )
        config = self.model.config
        self.layers: int = config.num_hidden_layers
        self.heads: int = config.num_attention_heads
        self.prefix = nn.Parameter(torch.randn(length, 2 * self.layers * config.hidden_size))
        """``(P, 2 * layers * hidden)``: what `network` maps to keys and values, or these themselves."""
        self.network: Reparameterization | None = None

    @classmethod
    def around(cls, base: PreTrainedModel, length: int, network_width: int | None) -> PrefixModel:
        """Return `base`, its encoder frozen, with a random prefix.

        Args:
            network_width: of the network that the prefix is trained through; None trains the keys and values directly.
        """
        model = cls(architecture_of(base), length, base)
        base.base_model.requires_grad_(False)
        if network_width is not None:
            width = base.config.hidden_size
            model.prefix = nn.Parameter(torch.randn(length, width))
            model.network = Reparameterization(width, network_width, 2 * model.layers * width)
        return model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **inputs: Any) -> Any:
        """Return the output of the model inside; attentions have the prefix before the text."""
        batch = input_ids.shape[0]
        return self.model(
            input_ids=input_ids,
            attention_mask=torch.cat([attention_mask.new_ones(batch, len(self.prefix)), attention_mask], 1),
            past_key_values=_Prefix(self._keys_and_values(batch)),
            **inputs,
        )

    @torch.no_grad()
    def fold(self) -> PrefixModel:
        """Return the model with the network's output in the place of network and input (Li and Liang 2021, section 4.3)."""
        if self.network is not None:
            self.prefix = nn.Parameter(self.network(self.prefix))
            self.network = None
        return self

    def _keys_and_values(self, batch: int) -> list[tuple[Tensor, Tensor]]:
        """Return for each layer keys and values ``(batch, heads, P, width of a head)``."""
        flat = self.prefix if self.network is None else self.network(self.prefix)
        layers = flat.view(len(flat), self.layers, 2, self.heads, -1).permute(1, 2, 3, 0, 4)
        return [(keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1)) for keys, values in layers]


class Reparameterization(nn.Module):
    """The network that a prefix is trained through, for steadier training (Li and Liang 2021, section 4.3).

    Args:
        inputs: width of the prefix's small matrix.
        width: of the hidden layer.
        outputs: width of the keys and values of all layers.
    """

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, outputs))

    def forward(self, prefix: Tensor) -> Tensor:
        """Return ``(P, outputs)`` for the small matrix `prefix` ``(P, inputs)``."""
        return self.layers(prefix)


class _Prefix(DynamicCache):
    """Keys and values that count for no position: texts stand where the model was pretrained on them."""

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return 0: a text's first position is its own."""
        return 0
