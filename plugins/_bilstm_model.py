"""Define the BiLSTM student and build it from a bench."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput, TokenClassifierOutput

from kdbench import Bench, FolderModel

if TYPE_CHECKING:
    from kdbench_plugins.bilstm import BiLSTMParams


class BiLSTMModel(FolderModel):
    """Classify by embeddings, one bidirectional LSTM, a ReLU layer and a linear layer (Tang et al. 2019, section 3.1).

    A text is represented by the final state of each direction; a text pair by both texts' states, their product and
    their absolute difference (the paper's siamese network); a word piece by the two states at its position.

    The directions are two unidirectional LSTMs; the second reads each text from its last piece to its first, with the
    padding still at the end. That is as exact as packed sequences and, unlike these, can be exported to ONNX.

    Args:
        vocabulary: number of word pieces.
        table_size: width of the embedding table.
        embedding_size: input width of the LSTM; where `table_size` differs, a linear layer without bias projects to it.
        hidden_size: width of each direction's state.
        dense_size: width of the ReLU layer.
        outputs: number of logits per text or word piece.
        tokens: whether logits are per word piece rather than per text.
        pairs: whether inputs are text pairs, separated by ``token_type_ids``.
        dropout: on the inputs of the LSTM and of the output layer.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        table_size: int,
        embedding_size: int,
        hidden_size: int,
        dense_size: int,
        outputs: int,
        tokens: bool,
        pairs: bool,
        dropout: float,
    ) -> None:
        super().__init__(
            {
                "vocabulary": vocabulary,
                "table_size": table_size,
                "embedding_size": embedding_size,
                "hidden_size": hidden_size,
                "dense_size": dense_size,
                "outputs": outputs,
                "tokens": tokens,
                "pairs": pairs,
                "dropout": dropout,
            }
        )
        self.tokens = tokens
        self.pairs = pairs
        self.embedding = nn.Embedding(vocabulary, table_size)
        self.projection = (
            nn.Identity()
            if table_size == embedding_size
            else nn.Linear(table_size, embedding_size, bias=False)
        )
        self.rightward = nn.LSTM(embedding_size, hidden_size, batch_first=True)
        self.leftward = nn.LSTM(embedding_size, hidden_size, batch_first=True)
        self.dense = nn.Linear((8 if pairs else 2) * hidden_size, dense_size)
        self.classifier = nn.Linear(dense_size, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> SequenceClassifierOutput | TokenClassifierOutput:
        """Return the logits, ``(batch, outputs)`` or for tokens ``(batch, sequence, outputs)``.

        Args:
            input_ids: ``(batch, sequence)``.
            attention_mask: ``(batch, sequence)``, 1 for the pieces of the text, which come first, 0 for the padding.
            token_type_ids: ``(batch, sequence)``, 1 for the second text of a pair; used for pairs only.
        """
        vectors = self.dropout(self.projection(self.embedding(input_ids)))
        lengths = attention_mask.sum(1)
        if self.tokens:
            return TokenClassifierOutput(logits=self._logits(self.states(vectors, lengths)))
        if not self.pairs:
            return SequenceClassifierOutput(logits=self._logits(self.ends(vectors, lengths)))
        second_lengths = (attention_mask * token_type_ids).sum(1)
        first_lengths = lengths - second_lengths
        positions = torch.arange(vectors.shape[1], device=vectors.device) + first_lengths[:, None]
        second = _take(vectors, positions.clamp(max=vectors.shape[1] - 1))
        first_end, second_end = self.ends(vectors, first_lengths), self.ends(second, second_lengths)
        features = [first_end, second_end, first_end * second_end, (first_end - second_end).abs()]
        return SequenceClassifierOutput(logits=self._logits(torch.cat(features, dim=-1)))

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def set_input_embeddings(self, table: nn.Module) -> None:
        self.embedding = table

    def merge_projection(self) -> BiLSTMModel:
        """Return an equivalent model with the projection multiplied into the embedding table."""
        if isinstance(self.projection, nn.Identity):
            return self
        merged = BiLSTMModel(**{**self.settings, "table_size": self.settings["embedding_size"]})
        weights = self.state_dict()
        weights["embedding.weight"] = weights["embedding.weight"] @ weights.pop("projection.weight").T
        merged.load_state_dict(weights)
        return merged

    def states(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Return both directions' states at every position, ``(batch, sequence, 2 x hidden)``."""
        order = _backwards(lengths, vectors.shape[1])
        leftward = _take(self.leftward(_take(vectors, order))[0], order)
        return torch.cat([self.rightward(vectors)[0], leftward], dim=-1)

    def ends(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Return each direction's final state, ``(batch, 2 x hidden)``."""
        order = _backwards(lengths, vectors.shape[1])
        last = lengths[:, None] - 1
        leftward = self.leftward(_take(vectors, order))[0]
        return torch.cat([_take(self.rightward(vectors)[0], last), _take(leftward, last)], dim=-1)[:, 0]

    def _logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.dropout(torch.relu(self.dense(features))))
        return logits


def build_bilstm(bench: Bench, params: BiLSTMParams) -> BiLSTMModel:
    """Return the untrained network that `params` describes, with the embeddings that `params.init` names."""
    if params.init == "teacher":
        table = bench.teacher_embeddings().cpu()
    else:
        table = bench.base().get_input_embeddings().weight.detach().float().cpu()
    embedding_size = min(params.embedding_size, table.shape[1])
    if params.reduction == "svd":
        table = reduce_width(table, embedding_size)
    torch.manual_seed(bench.axis_seed("init"))
    model = BiLSTMModel(
        vocabulary=table.shape[0],
        table_size=table.shape[1],
        embedding_size=embedding_size,
        hidden_size=params.hidden_size,
        dense_size=params.dense_size,
        outputs=bench.kind.outputs(bench.task.task.labels),
        tokens=bench.kind.per_word,
        pairs=bench.task.paired and "token_type_ids" in bench.task.train.column_names,
        dropout=params.dropout,
    )
    if params.new_layers == "xavier":
        for name, weight in model.named_parameters():
            if weight.dim() == 2 and not name.startswith("embedding."):
                nn.init.xavier_uniform_(weight)
    if params.init != "random":
        with torch.no_grad():
            model.embedding.weight.copy_(table / table.square().mean().sqrt())
    return model


def reduce_width(table: Tensor, width: int) -> Tensor:
    """Return `table` reduced to ``(rows, width)``: U S of the truncated SVD.

    Distances and products between rows are those of the best approximation of rank `width` (Eckart and Young 1936).
    """
    if width == table.shape[1]:
        return table
    # The right singular vectors are the eigenvectors of the small square matrix, computed in a tenth of the time.
    exact = table.double()
    _, directions = torch.linalg.eigh(exact.T @ exact)  # eigenvalues ascend
    return (exact @ directions[:, -width:].flip(1)).float()


def _backwards(lengths: Tensor, longest: int) -> Tensor:
    """Return the positions ``(batch, longest)`` that reverse each row's pieces and leave the padding at the end."""
    positions = torch.arange(longest, device=lengths.device)
    mirrored = lengths[:, None] - 1 - positions
    return torch.where(mirrored >= 0, mirrored, positions)


def _take(vectors: Tensor, positions: Tensor) -> Tensor:
    """Return `vectors` ``(batch, sequence, width)`` at `positions` ``(batch, n)``: ``(batch, n, width)``."""
    return vectors.gather(1, positions[..., None].expand(-1, -1, vectors.shape[-1]))
