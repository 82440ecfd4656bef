"""Keep some transformer layers of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from kdbench.errors import UsageError
from kdbench.models.structure import find_structure

_PER_LAYER = ("layer_types", "mlp_layer_types", "attention_window", "attn_layers", "no_rope_layers")
"""Names, in various architectures, of lists with an entry for each layer: local or global attention, a window's width."""


def layers_to_keep(layers: int | tuple[int, ...], depth: int) -> tuple[int, ...]:
    """Return the indices of the layers, of `depth`, that a student keeps; a number of layers is spaced evenly from the first.

    Three of six are 0, 2, 4: every second layer, as in DistilBERT's initialization (Sanh et al. 2019, arXiv:1910.01108).
    """
    if isinstance(layers, int):
        if not 1 <= layers <= depth:
            raise UsageError(
                f"layers={layers}: the base model has {depth} layers; keep between 1 and {depth}"
            )
        return tuple(i * depth // layers for i in range(layers))
    if not layers or list(layers) != sorted(set(layers)) or not 0 <= layers[0] <= layers[-1] < depth:
        raise UsageError(
            f"layers={list(layers)}: name layers from 0 to {depth - 1}, each once, in rising order"
        )
    return layers


def keep_layers(model: PreTrainedModel, kept: Sequence[int]) -> PreTrainedModel:
    """Remove all transformer layers of `model` except those with the indices `kept`, and return it.

    Where all layers share their weights (ALBERT), the one layer is passed through less often.

    Raises:
        UsageError: its layers cannot be chosen from, or a model of the layers `kept` could not be saved.
    """
    structure = find_structure(model)
    if structure is None or not structure.shared:
        stack = _layer_stack(model)
        layers = list(stack)
        del stack[:]
        stack.extend(layers[i] for i in kept)
    set_layers(model.config, kept)
    _check_layout(model, kept)
    return model


def _check_layout(model: PreTrainedModel, kept: Sequence[int]) -> None:
    """Raise a UsageError if a model of the same class and configuration has other weights."""
    model_class: Any = type(model)
    with torch.device("meta"):
        fresh = model_class._from_config(model.config)
    other = {name for name, _ in fresh.named_parameters()} ^ {name for name, _ in model.named_parameters()}
    if other:
        raise UsageError(
            f"layers={list(kept)}: in {type(model).__name__} not every layer can be the first (one of them has "
            f"{min(other)}, the other has not); keep layer 0"
        )


def set_layers(config: PretrainedConfig, kept: Sequence[int]) -> None:
    """Say in `config` that the model has only the layers with the indices `kept`."""
    depth = config.num_hidden_layers
    for name in _PER_LAYER:
        entries = getattr(config, name, None)
        if isinstance(entries, list | tuple) and len(entries) == depth:
            setattr(config, name, [entries[i] for i in kept])
    config.num_hidden_layers = len(kept)


def _layer_stack(model: PreTrainedModel) -> nn.ModuleList:
    """Return the list of the encoder's layers, whatever its name in the architecture."""
    depth = model.config.num_hidden_layers
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return module
    raise UsageError(
        f"{type(model).__name__} has no list of {depth} layers to choose from (groups that share layers, perhaps); choose a "
        "base model with layers of its own"
    )
