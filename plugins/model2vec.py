"""Distil the base model into one static vector per word piece, and fit a linear classifier on them."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import TYPE_CHECKING

from kdbench_plugins._fit_clock import FitClock
from kdbench_plugins.linear_probe import PenaltyParams
from pydantic import Field

from kdbench import Bench, Strategy, TaskKind

if TYPE_CHECKING:
    import numpy as np
    from kdbench_plugins._static_model import StaticModel
    from transformers import PreTrainedTokenizerBase

_UNUSED = re.compile(r"\[unused\d+\]")
"""Places that BERT's vocabulary keeps free."""


class Model2Vec(Strategy):
    """Fit one linear layer on sums of static vectors, which the base model gives to each word piece by itself.

    A piece's vector is the mean of the base model's last hidden states over the piece between the special tokens. All of
    them are reduced by principal component analysis and weighted by smooth inverse frequency, ``a / (a + p)``, where the
    frequency p of a piece is estimated from its place in the vocabulary by Zipf's law (Tulkens and van Dongen 2024).
    """

    class Params(PenaltyParams):
        dimensions: int = Field(256, ge=1, description="principal components kept, at most the base's width")
        sif: float | None = Field(
            1e-4, gt=0, lt=1, description="a of the smooth inverse frequencies; null for no weights"
        )

    name = "model2vec"
    title = "Model2Vec: static embeddings, linear classifier"
    citation = (
        "Tulkens and van Dongen 2024, Model2Vec: Fast State-of-the-Art Static Embeddings, "
        "doi:10.5281/zenodo.17270888; Arora et al. 2017, A Simple but Tough-to-Beat Baseline for Sentence "
        "Embeddings"
    )
    family = "baseline"
    kinds = frozenset({TaskKind.SEQUENCE_CLASSIFICATION, TaskKind.SEQUENCE_REGRESSION})
    params: Params

    def fit(self, bench: Bench) -> StaticModel:
        """Return the static vectors with a fitted linear layer.

        Raises:
            UsageError: all training examples have the same label.
        """
        from kdbench_plugins._probe_fits import fit_layer

        clock = FitClock()
        model = self.distil(bench)
        score = fit_layer(model, "classifier", bench, self.params.penalties, strategy=self.name)
        clock.count(bench, bench.task.train, score)
        return model

    def distil(self, bench: Bench) -> StaticModel:
        """Return the static vectors of all word pieces, with a new linear layer."""
        import numpy as np
        import torch
        from kdbench_plugins._static_model import StaticModel

        pieces = counted_pieces(bench.tokenizer)
        vectors = _reduced(_piece_states(pieces, bench), self.params.dimensions)
        if self.params.sif is not None:
            vectors = vectors * zipf_weights(len(pieces), self.params.sif)[:, None]
        # In a text, padding and unknown pieces do not count, as in the library.
        silent = np.isin(pieces, bench.tokenizer.all_special_ids)
        task = bench.task.task
        model = StaticModel(len(bench.tokenizer), vectors.shape[1], task.kind.outputs(task.labels))
        table = model.embeddings.weight.data.zero_()
        table[torch.from_numpy(pieces[~silent])] = torch.from_numpy(vectors[~silent].astype(np.float32))
        return model


def counted_pieces(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """Return the word pieces that get a vector, in the order of the vocabulary.

    All but the special tokens (of which padding and the unknown token stay) and the unused places.
    """
    import numpy as np

    dropped = set(tokenizer.all_special_ids) - {tokenizer.pad_token_id, tokenizer.unk_token_id}
    vocabulary = tokenizer.get_vocab().items()
    return np.array(
        sorted(number for piece, number in vocabulary if number not in dropped and not _UNUSED.match(piece))
    )


def zipf_weights(pieces: int, sif: float) -> np.ndarray:
    """Return the weights ``sif / (sif + p)`` of `pieces` word pieces in the order of their frequency.

    p is proportional to ``1 / (rank + 1)``, ranks counted from 1.
    """
    import numpy as np

    inverse = 1 / np.arange(2, pieces + 2)
    weights: np.ndarray = sif / (sif + inverse / inverse.sum())
    return weights


def _piece_states(pieces: np.ndarray, bench: Bench) -> np.ndarray:
    """Return the mean of the base model's last hidden states over each piece and the special tokens around it."""
    import numpy as np
    from datasets import Dataset
    from kdbench_plugins._probe_fits import features_of
    from kdbench_plugins._probe_model import MeanProbe

    special = set(bench.tokenizer.all_special_ids)
    example = bench.tokenizer("a")["input_ids"]
    before = list(takewhile(special.__contains__, example))
    after = list(takewhile(special.__contains__, reversed(example)))[::-1]
    rows = [[*before, piece, *after] for piece in pieces.tolist()]
    numbers = range(len(rows))
    columns = {"input_ids": rows, "labels": [0] * len(rows), "length": [len(rows[0])] * len(rows)}
    texts = Dataset.from_dict({**columns, "id": numbers, "example": numbers})
    states, _ = features_of(MeanProbe.around(bench.base(), 1), "classifier", texts, bench)
    return np.concatenate(states)


def _reduced(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """Return the first principal components of `vectors`, ``(pieces, at most dimensions)``; fewer pieces are not reduced."""
    from sklearn.decomposition import PCA

    dimensions = min(dimensions, vectors.shape[1])
    if dimensions >= len(vectors):
        return vectors
    reduced: np.ndarray = PCA(dimensions, svd_solver="full").fit_transform(vectors)
    return reduced
