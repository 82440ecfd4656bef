"""Parameters and bytes."""

from __future__ import annotations

from torch import nn


def count_parameters(model: nn.Module) -> int:
    """Return the number of weights; one that two modules share counts once."""
    return sum(weight.numel() for weight in model.parameters())


def count_trainable(model: nn.Module) -> int:
    """Return the number of weights that training updates."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def count_non_embedding(model: nn.Module) -> int:
    """Return the number of weights outside of embedding tables."""
    tables = {
        id(module.weight): module.weight for module in model.modules() if isinstance(module, nn.Embedding)
    }
    return count_parameters(model) - sum(table.numel() for table in tables.values())
