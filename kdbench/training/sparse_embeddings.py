"""The rows of an embedding table that a training loop reads, trained apart from all others.

A small encoder's table holds half of its weights, and a task's texts read a part of it. The rest has no gradient; to
fill it with zeros, clip them and update moments that stay zero takes longer than the forward pass of a small batch.
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
    """Let the optimizer see those rows alone of the input embeddings of `model` that `pieces` names.

    The rows train as they would within the whole table. The others, and that of the padding, keep their values, where
    weight decay would shrink them. Nothing is changed where the table is frozen, tied to another layer, of a class of
    its own, or where the model does not tell which it is.
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
        used.give_back(table)
        owner.set_input_embeddings(table)


class UsedRows(nn.Module):
    """Answers as `table` does, from a table of the `used` rows and, for other word pieces, from the first."""

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
    def give_back(self, table: nn.Embedding) -> None:
        """Give `table` the rows as they are now, and the others, on the device that they are on now."""
        self._whole[self._rows] = self.weight  # type: ignore[index,operator]
        table.weight.data = self._whole  # type: ignore[assignment]


def _trained_table(model: nn.Module) -> nn.Embedding | None:
    """Return the input embeddings of `model` if all of their rows are trained, and by them alone."""
    find = getattr(model, "get_input_embeddings", None)
    try:
        table = find() if find is not None else None
    except NotImplementedError:  # a plugin's own class of model; transformers cannot guess
        return None
    if type(table) is not nn.Embedding or not table.weight.requires_grad:
        return None
    if table.max_norm is not None or table.scale_grad_by_freq or table.sparse:
        return None
    each_once = (weight for module in model.modules() for weight in module.parameters(recurse=False))
    held = sum(weight is table.weight for weight in each_once)
    return table if held == 1 else None
