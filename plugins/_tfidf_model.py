"""Define the model of a TF-IDF baseline: a linear layer on weighted counts of word pieces and of pairs of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from kdbench import FolderModel


def n_grams(pieces: Sequence[int], special: Collection[int], vocabulary: int) -> list[int]:
    """Return the number of each word piece and of each two neighbouring ones in `pieces`, without special tokens.

    A piece ``a`` has the number ``a * (vocabulary + 1)``, the pair ``a, b`` that number plus ``b + 1``.
    """
    base = vocabulary + 1
    single = [piece * base for piece in pieces if piece not in special]
    pairs = [
        first * base + second + 1
        for first, second in pairwise(pieces)
        if first not in special and second not in special
    ]
    return single + pairs


class TfidfModel(FolderModel):
    """Classify a text by a linear layer on its TF-IDF vector.

    Args:
        vocabulary: number of word pieces.
        special: the special tokens, which do not count.
        terms: number of known n-grams.
        outputs: number of logits.
    """

    terms: Tensor
    is_special: Tensor

    def __init__(self, vocabulary: int, special: list[int], terms: int, outputs: int) -> None:
        super().__init__({"vocabulary": vocabulary, "special": special, "terms": terms, "outputs": outputs})
        self.vocabulary = vocabulary
        is_special = torch.zeros(vocabulary, dtype=torch.bool)
        is_special[special] = True
        self.register_buffer("is_special", is_special, persistent=False)
        self.register_buffer("terms", torch.zeros(terms, dtype=torch.long))
        self.inverse_frequency = nn.Parameter(torch.zeros(terms), requires_grad=False)
        self.weight = nn.Parameter(torch.zeros(terms, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Return the logits, ``(batch, outputs)``, of ``(batch, sequence)`` word pieces."""
        numbers = input_ids * (self.vocabulary + 1)
        grams = torch.cat([numbers, numbers[:, :-1] + input_ids[:, 1:] + 1], dim=1)
        counted = attention_mask.bool() & ~self.is_special[input_ids]
        counted = torch.cat([counted, counted[:, :-1] & counted[:, 1:]], dim=1)
        places = self._places(grams)
        known = counted & (self.terms[places] == grams)
        same = (grams[:, :, None] == grams[:, None, :]) & known[:, None, :]
        counts = same.sum(2).clamp(min=1).to(self.weight.dtype)
        # Every occurrence has an equal part of its n-gram's value, (1 + log count) * inverse frequency.
        parts = known * self.inverse_frequency[places] * (1 + counts.log()) / counts
        norm = (parts * parts * counts).sum(1, keepdim=True).clamp(min=1e-12).sqrt()
        logits = torch.einsum("bn,bno->bo", parts / norm, self.weight[places]) + self.bias
        return SequenceClassifierOutput(logits=logits)

    def _places(self, grams: Tensor) -> Tensor:
        """Return the index of the last known n-gram that is not above each of `grams`, by binary search.

        ``torch.searchsorted`` has no counterpart in ONNX.
        """
        places = torch.zeros_like(grams)
        for bit in reversed(range(len(self.terms).bit_length())):
            further = places + (1 << bit)
            inside = further.clamp(max=len(self.terms) - 1)
            places = torch.where((further == inside) & (self.terms[inside] <= grams), inside, places)
        return places
