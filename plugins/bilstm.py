"""A bidirectional LSTM on labels alone: the control of its distillation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from kdbench import Params, Strategy, TaskKind

if TYPE_CHECKING:
    from torch import nn

    from kdbench.training.bench import Bench


class BiLSTMParams(Params):
    """The network's shape, and where its embeddings come from."""

    init: Literal["teacher", "base", "random"] = Field(
        "teacher", description="where the word-piece embeddings come from: teacher, base or random"
    )
    reduction: Literal["svd", "projection"] = Field(
        "svd",
        description="how embeddings get narrower: svd, before training, or projection, a linear layer trained along",
    )
    embedding_size: int = Field(
        300, ge=1, description="width of the embeddings; the base model's own where that is smaller"
    )
    hidden_size: int = Field(
        300, ge=1, description="width of each direction's state; the paper tried 150 and 300"
    )
    dense_size: int = Field(200, ge=1, description="width of the ReLU layer; the paper tried 200 and 400")
    dropout: float = Field(
        0.1, ge=0, lt=1, description="dropout on the embeddings and before the output layer"
    )
    new_layers: Literal["normal", "xavier"] = Field(
        "normal",
        description="how new layers start: normal, as torch draws them, or xavier (Glorot uniform)",
    )


class BiLSTM(Strategy):
    """Train a BiLSTM without a teacher's answers; what distillation adds is measured against this."""

    Params = BiLSTMParams
    name = "bilstm"
    title = "BiLSTM, labels alone (control)"
    reference = "Tang et al. 2019, Distilling Task-Specific Knowledge from BERT into Simple Neural Networks, arXiv:1903.12136"
    family = "control"
    learning_rates = {**dict.fromkeys(TaskKind, 1e-3), TaskKind.TOKEN_CLASSIFICATION: 3e-3}
    params: BiLSTMParams

    def fit(self, bench: Bench) -> nn.Module:
        """Return the network, trained on the labels."""
        from kdbench_plugins._bilstm import build_bilstm

        return bench.train(build_bilstm(bench, self.params))

    def finalize(self, model: nn.Module, bench: Bench) -> nn.Module:
        """Return the network with a learned projection taken into its embedding table."""
        return model.merge_projection()
