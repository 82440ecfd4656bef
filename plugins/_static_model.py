"""Define the model of static embeddings: one vector per word piece, whatever stands beside it."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers.modeling_outputs import SequenceClassifierOutput

from kdbench import FolderModel


class StaticModel(FolderModel):
    """Classify a text by one linear layer on the sum of its word pieces' vectors, scaled to norm 1.

    A word piece whose vector is zero does not count. A text of none but these has the vector zero.

    Args:
        vocabulary: number of word pieces.
        width: width of the vectors.
        outputs: number of logits.
    """

    def __init__(self, vocabulary: int, width: int, outputs: int) -> None:
        super().__init__({"vocabulary": vocabulary, "width": width, "outputs": outputs})
        self.embeddings = nn.Embedding(vocabulary, width)
        self.embeddings.requires_grad_(False)
        self.classifier = nn.Linear(width, outputs)

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the table of vectors, which is no layer that computes."""
        return self.embeddings

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Return the logits, ``(batch, outputs)``, of ``(batch, sequence)`` word pieces."""
        vectors = cast(Tensor, self.embeddings(input_ids))
        total = (vectors * attention_mask[..., None].to(vectors.dtype)).sum(1)
        return SequenceClassifierOutput(logits=self.classifier(normalize(total, dim=-1)))
