"""Define the model of a linear layer on the mean of a text's tokens."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from kdbench import FolderModel, architecture_of, build_architecture


class MeanProbe(FolderModel):
    """Classify a text by one linear layer on the mean of its tokens' last hidden states.

    Args:
        architecture: class and configuration of the encoder, from `architecture_of`.
        outputs: number of logits.
        encoder: the encoder, without a head; by default a randomly initialized one. Its pooler is dropped.
    """

    def __init__(
        self, architecture: dict[str, Any], outputs: int, encoder: PreTrainedModel | None = None
    ) -> None:
        super().__init__({"architecture": architecture, "outputs": outputs})
        self.encoder: Any = encoder if encoder is not None else build_architecture(architecture)
        if getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler = None
        self.classifier = nn.Linear(self.encoder.config.hidden_size, outputs)

    @classmethod
    def around(cls, base: PreTrainedModel, outputs: int) -> MeanProbe:
        """Return a probe, frozen but for its classifier, of the encoder of `base`."""
        encoder = base.base_model
        model = cls(architecture_of(encoder), outputs, encoder)
        encoder.requires_grad_(False)
        return model

    def get_input_embeddings(self) -> nn.Module:
        """Return the encoder's table of word pieces."""
        table: nn.Module = self.encoder.get_input_embeddings()
        return table

    def set_input_embeddings(self, table: nn.Module) -> None:
        """Set the encoder's table of word pieces."""
        self.encoder.set_input_embeddings(table)

    def forward(self, attention_mask: Tensor, **inputs: Tensor) -> SequenceClassifierOutput:
        """Return the logits, ``(batch, outputs)``."""
        states = self.encoder(attention_mask=attention_mask, **inputs).last_hidden_state
        return SequenceClassifierOutput(logits=self.classifier(mean_of_tokens(states, attention_mask)))


def mean_of_tokens(states: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the mean of each text's states, ``(batch, width)``, without padding.

    Args:
        states: ``(batch, sequence, width)``.
        attention_mask: ``(batch, sequence)``, 0 at padding.
    """
    mask = attention_mask[..., None].to(states.dtype)
    return (states * mask).sum(1) / mask.sum(1)
