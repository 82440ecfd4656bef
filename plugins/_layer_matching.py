"""Losses between the insides of a student and of its teacher; padding never counts.

Each is what its paper says of one text, computed in float32 and averaged over the texts of a batch, so that a text
counts the same whatever it is padded to. Each is zero where student and teacher are equal.

A `mask` is the batch's ``attention_mask``, ``(batch, sequence)``: 1 for a text's word pieces and 0 for padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from kdbench import Bench, UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


_LAYER_NAMES = (("query", "key", "value"), ("q_lin", "k_lin", "v_lin"))
"""What architectures call the three projections: BERT, RoBERTa and ELECTRA; DistilBERT."""


@dataclass
class AttentionVectors:
    """What one self-attention layer computed in its model's latest run; unset before the first.

    Each is ``(batch, sequence, width)``, the heads side by side, not yet scaled.
    """

    query: Tensor = field(init=False)
    key: Tensor = field(init=False)
    value: Tensor = field(init=False)


@contextmanager
def read_attention(model: nn.Module, layers: Iterable[int]) -> Iterator[dict[int, AttentionVectors]]:
    """Within the context every run of `model` leaves the vectors of `layers` in the mapping that it gives.

    They are read from the linear layers' outputs, so that any attention kernel will do: scores before the softmax
    come without the eager one. When the context ends the model is as it was, and the mapping is empty.

    Args:
        model: with a ``config``; gradients flow back through what was read of it.
        layers: numbers of transformer layers, counted from 1.

    Raises:
        UsageError: the model's attention is not laid out as BERT's is.
    """
    found = _projections(model)
    vectors = {layer: AttentionVectors() for layer in layers}
    with ExitStack() as hooks:
        for layer, read in vectors.items():
            for vector, projection in zip(fields(read), found[layer - 1], strict=True):
                handle = projection.register_forward_hook(_keep_in(read, vector.name))
                hooks.callback(handle.remove)
        try:
            yield vectors
        finally:
            vectors.clear()


def _keep_in(read: AttentionVectors, name: str) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        setattr(read, name, output)

    return hook


def _projections(model: nn.Module) -> list[tuple[nn.Linear, ...]]:
    """Return each transformer layer's linear layers for queries, keys and values, first layer first."""
    found = []
    for module in model.modules():
        for names in _LAYER_NAMES:
            layers = tuple(getattr(module, name, None) for name in names)
            if all(isinstance(layer, nn.Linear) for layer in layers):
                found.append(layers)
    depth = model.config.num_hidden_layers
    if len(found) != depth:
        raise UsageError(
            f"{type(model).__name__} has {len(found)} self-attention layers with queries, keys and values of their own, "
            f"not {depth}; matching attention needs a model laid out as BERT, RoBERTa, ELECTRA or DistilBERT are"
        )
    return found


_MASKED = -1e9
"""A score that softmax turns into exactly 0 and that, unlike -inf, has no NaN in its divergence."""


def hidden_state_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Return the mean squared difference of hidden states (Jiao et al. 2020, arXiv:1909.10351, equations 8 and 9).

    Args:
        student: ``(batch, sequence, hidden)``, projected to the teacher's width where that is another.
        teacher: of the same shape.
        mask: see above.
    """
    differences = (student.float() - teacher.float()).square().mean(dim=-1)
    return _mean_of_texts(differences, mask)


def attention_score_loss(
    student: AttentionVectors, teacher: AttentionVectors, mask: Tensor, *, heads: int
) -> Tensor:
    """Return the mean squared difference of attention scores before the softmax, over pairs of word pieces and heads.

    A score is a query times a key over the root of the head's width (Jiao et al. 2020, arXiv:1909.10351, equation 7).

    Args:
        student: one layer's vectors.
        teacher: another's; the widths may differ.
        mask: see above.
        heads: how many attention heads both models have.
    """
    scores = (_scaled_products(model.query, model.key, heads) for model in (student, teacher))
    differences = functional.mse_loss(*scores, reduction="none").mean(dim=1)
    return _mean_of_texts(differences, mask[:, :, None] * mask[:, None, :])


def relation_loss(student: Tensor, teacher: Tensor, mask: Tensor, *, heads: int) -> Tensor:
    """Return the divergence between two models' relations of word pieces, in nats.

    A relation head is a slice of the vectors; a word piece's relations are the softmax over the text of its slice's
    scaled products with all slices. The Kullback-Leibler divergence from the teacher's to the student's is averaged
    over word pieces and heads (Wang et al. 2021, arXiv:2012.15828, section 3.1).

    Args:
        student: queries, keys or values of one layer, ``(batch, sequence, width)``.
        teacher: the same of another; the widths may differ.
        mask: see above.
        heads: the number of relation heads, of which both widths are multiples.
    """
    student_log, teacher_log = (
        _scaled_products(vectors, vectors, heads)
        .masked_fill(mask[:, None, None, :] == 0, _MASKED)
        .log_softmax(dim=-1)
        for vectors in (student, teacher)
    )
    divergences = functional.kl_div(student_log, teacher_log, reduction="none", log_target=True)
    return _mean_of_texts(divergences.sum(dim=-1).mean(dim=1), mask)


def _scaled_products(left: Tensor, right: Tensor, heads: int) -> Tensor:
    """Return products of every pair of positions head by head, ``(batch, heads, sequence, sequence)``."""
    left, right = (
        vectors.float().unflatten(-1, (heads, -1)).transpose(1, 2)  # (batch, heads, sequence, width / heads)
        for vectors in (left, right)
    )
    with torch.autocast(left.device.type, enabled=False):  # training may run under bfloat16
        return left @ right.transpose(-1, -2) / left.shape[-1] ** 0.5


def _mean_of_texts(values: Tensor, counted: Tensor) -> Tensor:
    """Return the mean over the batch of each text's mean over its counted `values`."""
    totals = (values * counted).flatten(1).sum(dim=1)
    return (totals / counted.flatten(1).sum(dim=1)).mean()


def check_equal_widths(strategy: str, student: PreTrainedModel, teacher: PreTrainedModel) -> None:
    """Refuse a student whose hidden states cannot be held against the teacher's number by number.

    Raises:
        UsageError: their widths differ.
    """
    mine, wanted = student.config.hidden_size, teacher.config.hidden_size
    if mine != wanted:
        raise UsageError(
            f"strategy {strategy!r}: the student's hidden states are {mine} wide and the teacher's {wanted}, but are "
            "matched as they are; leave out hidden_size and init, or take vanilla-kd, which matches logits alone"
        )


def two_stages(bench: Bench, first: float) -> tuple[float, float]:
    """Return the shares of the budget's steps that two stages train for; together they use up exactly its steps.

    Args:
        bench: the bench whose budget is shared.
        first: the share of the first stage, between 0 and 1; rounded to whole steps, one at least for either.
    """
    steps = bench.steps
    of_first = max(1, min(round(first * steps), steps - 1))
    return of_first / steps, (steps - of_first) / steps
