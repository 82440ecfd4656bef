"""Find the parts of a base model that pretraining has not trained."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from kdbench.models.base import POOLING


def new_layers(model: PreTrainedModel) -> list[str]:
    """Return the names of the layers of `model` that pretraining has not trained, which every strategy therefore trains.

    These are the layers outside the encoder (the head), and those of the encoder's pooler if the checkpoint lacks it,
    never trained it, or belongs to a sentence encoder, which is pooled without it (Reimers and Gurevych 2019,
    arXiv:1908.10084).

    Args:
        model: a base model with a new head, as returned by `Bench.base`.
    """
    encoder = model.base_model
    inside = set(encoder.modules())
    pooler = getattr(encoder, "pooler", None)
    if pooler is not None and (_is_sentence_encoder(model) or _is_random(pooler)):
        inside -= set(pooler.modules())
    return [
        name
        for name, module in model.named_modules()
        if name and module not in inside and any(True for _ in module.parameters(recurse=False))
    ]


def _is_sentence_encoder(model: PreTrainedModel) -> bool:
    folder: str = model.name_or_path or ""  # empty for a model that was not loaded
    return bool(folder) and (Path(folder) / POOLING).is_file()


def _is_random(module: nn.Module) -> bool:
    """Return whether all weights of `module` are as they were drawn: biases of 0, matrices of independent entries.

    The largest singular value of such a matrix, ``(m, n)``, is at most (√m + √n) times the entries' standard deviation
    (Bai and Yin 1993), which training exceeds.
    """
    for weight in module.parameters():
        if weight.is_meta:  # it has no values
            return False
        if weight.dim() < 2:
            if weight.any():
                return False
            continue
        matrix = weight.detach().float().flatten(1)
        edge = matrix.std() * sum(size**0.5 for size in matrix.shape)
        if torch.linalg.matrix_norm(matrix, 2) > 1.05 * edge:
            return False
    return True
