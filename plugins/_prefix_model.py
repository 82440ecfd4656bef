"""Define the model that attends to a learned prefix."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from kdbench_plugins._parameter_efficient import freeze_encoder
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from kdbench import FolderModel, UsageError, architecture_of, build_architecture


class PrefixModel(FolderModel):
    """Wrap a model so that every layer attends to learned keys and values before those of the text.

    The prefix takes no positions: those of the text are unchanged.

    Args:
        architecture: class and configuration of the model, from `architecture_of`.
        length: P, the number of prefix positions.
        base: the model to add the prefix to; by default a randomly initialized one.

    Raises:
        UsageError: the architecture does not accept ``past_key_values``.
    """

    def __init__(
        self, architecture: dict[str, Any], length: int, base: PreTrainedModel | None = None
    ) -> None:
        super().__init__({"architecture": architecture, "length": length})
        self.model = base if base is not None else build_architecture(architecture)
        if "past_key_values" not in inspect.signature(self.model.base_model.forward).parameters:
            raise UsageError(
                f"strategy 'prefix-tuning': {type(self.model).__name__} does not accept past_key_values; "
                "take a model like BERT, RoBERTa, XLM-RoBERTa, CamemBERT or ELECTRA"
            )
        config = self.model.config
        self.layers: int = config.num_hidden_layers
        self.heads: int = config.num_attention_heads
        self.prefix = nn.Parameter(torch.randn(length, 2 * self.layers * config.hidden_size))
        """``(P, 2 * layers * hidden)``: the input of `network`, or the keys and values themselves."""
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
            width = base.config.hidden_size
            model.prefix = nn.Parameter(torch.randn(length, width))
            model.network = Reparameterization(width, network_width, 2 * model.layers * width)
        return model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **inputs: Any) -> Any:
        """Return the output of the wrapped model; its attentions have the prefix before the text."""
        batch = input_ids.shape[0]
        return self.model(
            input_ids=input_ids,
            attention_mask=torch.cat([attention_mask.new_ones(batch, len(self.prefix)), attention_mask], 1),
            past_key_values=_Prefix(self._keys_and_values(batch)),
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
        layers = flat.view(len(flat), self.layers, 2, self.heads, -1).permute(1, 2, 3, 0, 4)
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


class _Prefix(DynamicCache):
    """Cache keys and values of length 0, so that texts start at the position that the model was pretrained with."""

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return 0: the prefix takes no positions."""
        return 0
