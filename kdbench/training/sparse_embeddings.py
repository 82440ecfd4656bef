"""Train only those rows of an embedding table that a training loop reads, to save time.

The embeddings of a small encoder are half of its weights, and a task's texts use a part of them. The other rows have no
gradient; filling it with zeros, clipping it and updating zero moments takes longer than a small batch's forward pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding


@contextmanager
def only_used_rows(model: nn.Module, pieces: Iterable[int]) -> Iterator[None]:
    """Limit the optimizer to the rows of the input embeddings of `model` that `pieces` names, inside the context.

    These rows train as they would in the whole table. All others, and the padding's row, keep their values, whereas
    weight decay would shrink them. The context has no effect if the table is frozen, tied to another layer, not a plain
    `nn.Embedding`, or not returned by ``get_input_embeddings``.
    """
    table = _trained_table(model)
    if table is None:
        yield
        return
    owner: Any = model
    used = UsedRows(table, sorted(set(pieces) - {table.padding_idx}))
    owner.set_input_embeddings(used)
    try:
        yield
    finally:
        used.copy_back(table)
        owner.set_input_embeddings(table)


class UsedRows(nn.Module):
    """An embedding equal to `table` in which only the `used` rows are trainable; other word pieces read the original."""

    def __init__(self, table: nn.Embedding, used: list[int]) -> None:
        super().__init__()
        whole = table.weight.detach()
        rows = torch.tensor(used, device=whole.device)
        places = torch.full((len(whole),), -1, device=whole.device)
        places[rows] = torch.arange(len(rows), device=whole.device)
        self.weight = nn.Parameter(whole[rows])
        self.register_buffer("_whole", whole, persistent=False)
        self.register_buffer("_rows", rows, persistent=False)
        self.register_buffer("_places", places, persistent=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return the vectors ``(batch, sequence, width)`` of word pieces ``(batch, sequence)``."""
        places = self._places[input_ids]  # type: ignore[index]
        vectors = embedding(places.clamp(min=0), self.weight)
        others = places < 0
        if others.any():
            vectors = torch.where(others[..., None], embedding(input_ids, self._whole), vectors)  # type: ignore[arg-type]
        return vectors

    @torch.no_grad()
    def copy_back(self, table: nn.Embedding) -> None:
        """Set the weights of `table` to the trained rows and the unchanged others, on their current device."""
        self._whole[self._rows] = self.weight  # type: ignore[index,operator]
        table.weight.data = self._whole  # type: ignore[assignment]


def _trained_table(model: nn.Module) -> nn.Embedding | None:
    """Return the input embeddings of `model` if they are a plain trainable table that no other module shares."""
    find = getattr(model, "get_input_embeddings", None)
    try:
        table = find() if find is not None else None
    except NotImplementedError:  # transformers cannot find the embeddings of a plugin's model class
        return None
    if type(table) is not nn.Embedding or not table.weight.requires_grad:
        return None
    if table.max_norm is not None or table.scale_grad_by_freq or table.sparse:
        return None
    weights = (weight for module in model.modules() for weight in module.parameters(recurse=False))
    owners = sum(weight is table.weight for weight in weights)
    return table if owners == 1 else None
