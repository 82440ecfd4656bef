"""Compute losses between the intermediate layers of a student and its teacher, without padding.

Each loss follows its paper for one text, is computed in float32 and averaged over the texts of a batch, so that a text
has the same weight whatever it is padded to. Each is zero where student and teacher are equal.

A `mask` is the batch's ``attention_mask``, ``(batch, sequence)``: 1 for a text's word pieces and 0 for padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
"""The names of the three projections in BERT, RoBERTa and ELECTRA, and in DistilBERT."""


@dataclass
class AttentionVectors:
    """Hold the vectors of one self-attention layer in the latest forward pass; unset before the first.

    Each is ``(batch, sequence, width)``, heads concatenated, not scaled.
    """

    query: Tensor = field(init=False)
    key: Tensor = field(init=False)
    value: Tensor = field(init=False)


@contextmanager
def read_attention(model: nn.Module, layers: Iterable[int]) -> Iterator[dict[int, AttentionVectors]]:
    """Record queries, keys and values of `layers` by forward hooks: yield a mapping that every pass of `model` updates.

    They are the outputs of the linear layers, so that any attention kernel works: scores before the softmax do not
    need the eager implementation. When the context ends, the hooks are removed and the mapping is emptied.

    Args:
        model: a model with a ``config``; the recorded vectors carry gradients.
        layers: numbers of transformer layers, counted from 1.

    Raises:
        UsageError: the model's attention is not laid out as BERT's is.
    """
    projections = _projections(model)
    vectors = {layer: AttentionVectors() for layer in layers}
    with ExitStack() as hooks:
        for layer, read in vectors.items():
            for vector, projection in zip(fields(read), projections[layer - 1], strict=True):
                handle = projection.register_forward_hook(_recorder(read, vector.name))
                hooks.callback(handle.remove)
        try:
            yield vectors
        finally:
            vectors.clear()


class TeacherAttention:
    """Computes the attention vectors of a frozen model's `layers` from its hidden states, which may be stored ones.

    Args:
        model: a frozen model with a ``config``, in evaluation mode.
        layers: numbers of transformer layers, counted from 1.

    Raises:
        UsageError: the model's attention is not laid out as BERT's is, or does not read the hidden states as they are.
    """

    def __init__(self, model: nn.Module, layers: Iterable[int]) -> None:
        projections = _projections(model)
        self._projections = {layer: projections[layer - 1] for layer in layers}
        _check_inputs(model, self._projections)

    @torch.no_grad()
    def __call__(
        self,
        layer: int,
        hidden_states: Sequence[Tensor],
        names: Sequence[str] = ("query", "key", "value"),
        *,
        dtype: torch.dtype,
    ) -> AttentionVectors:
        """Return the vectors `names` of `layer`, computed in `dtype`.

        Args:
            hidden_states: the embeddings and the output of every layer, each ``(batch, sequence, hidden)``.
        """
        vectors = AttentionVectors()
        states = hidden_states[layer - 1].to(dtype)
        for vector, linear in zip(fields(vectors), self._projections[layer], strict=True):
            if vector.name in names:
                bias = None if linear.bias is None else linear.bias.to(dtype)
                setattr(vectors, vector.name, functional.linear(states, linear.weight.to(dtype), bias))
        return vectors


def _check_inputs(model: nn.Module, projections: Mapping[int, tuple[nn.Linear, ...]]) -> None:
    """Check on a short text that the projections of each layer read the hidden states before it, not normalized ones."""
    read: dict[int, Tensor] = {}

    def note(layer: int) -> Callable[..., None]:
        return lambda module, inputs: read.__setitem__(layer, inputs[0])

    tokens = torch.arange(3, device=next(model.parameters()).device)[None]
    with ExitStack() as hooks, torch.no_grad():
        for layer, (query, *_) in projections.items():
            hooks.callback(query.register_forward_pre_hook(note(layer)).remove)
        states = model(input_ids=tokens, output_hidden_states=True).hidden_states
    if not all(torch.equal(read[layer], states[layer - 1]) for layer in projections):
        raise UsageError(
            f"the attention of {type(model).__name__} does not read its layers' inputs as they are; to match attention "
            "take a model built as BERT, RoBERTa, ELECTRA or DistilBERT"
        )


def _recorder(read: AttentionVectors, name: str) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        setattr(read, name, output)

    return hook


def _projections(model: nn.Module) -> list[tuple[nn.Linear, ...]]:
    """Return each transformer layer's linear layers for queries, keys and values, first layer first."""
    projections = []
    for module in model.modules():
        for names in _LAYER_NAMES:
            layers = tuple(getattr(module, name, None) for name in names)
            if all(isinstance(layer, nn.Linear) for layer in layers):
                projections.append(layers)
    depth = model.config.num_hidden_layers
    if len(projections) != depth:
        raise UsageError(
            f"{type(model).__name__} has {len(projections)} self-attention layers with separate query, key and value "
            f"projections, not {depth}; to match attention take a model built as BERT, RoBERTa, ELECTRA or DistilBERT"
        )
    return projections


_MASKED = -1e9
"""A score that softmax maps to exactly 0 and that, unlike -inf, gives no NaN in the divergence."""


def hidden_state_loss(student: Tensor, teacher: Tensor, mask: Tensor, *, relative: bool = False) -> Tensor:
    """Return the mean squared difference of hidden states (Jiao et al. 2020, arXiv:1909.10351, equations 8 and 9).

    Args:
        student: ``(batch, sequence, hidden)``, projected to the teacher's width where widths differ.
        teacher: of the same shape.
        mask: see above.
        relative: divide by the mean square of the teacher's states.
    """
    loss = _mean_over_texts((student.float() - teacher.float()).square().mean(dim=-1), mask)
    return loss / _mean_over_texts(teacher.float().square().mean(dim=-1), mask) if relative else loss


def attention_score_loss(
    student: AttentionVectors, teacher: AttentionVectors, mask: Tensor, *, heads: int, relative: bool = False
) -> Tensor:
    """Return the mean squared difference of attention scores before the softmax, over pairs of word pieces and heads.

    A score is a query times a key over the root of the head's width (Jiao et al. 2020, arXiv:1909.10351, equation 7).

    Args:
        student: the vectors of the student's layer.
        teacher: those of the teacher's layer; the widths may differ.
        mask: see above.
        heads: the number of attention heads of both models.
        relative: divide by the mean square of the teacher's scores.
    """
    own, target = (_scaled_products(model.query, model.key, heads) for model in (student, teacher))
    pairs = mask[:, :, None] * mask[:, None, :]
    loss = _mean_over_texts((own - target).square().mean(dim=1), pairs)
    return loss / _mean_over_texts(target.square().mean(dim=1), pairs) if relative else loss


def relation_loss(student: Tensor, teacher: Tensor, mask: Tensor, *, heads: int) -> Tensor:
    """Return the divergence between the self-attention relations of two models, in nats.

    A relation head is a slice of the vectors; a word piece's relations are the softmax, over the text's word pieces, of
    the scaled dot products between its slice and theirs. KL(teacher, student) is averaged over word pieces and heads
    (Wang et al. 2021, arXiv:2012.15828, section 3.1).

    Args:
        student: queries, keys or values of the student's layer, ``(batch, sequence, width)``.
        teacher: the same of the teacher's layer; the widths may differ.
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
    return _mean_over_texts(divergences.sum(dim=-1).mean(dim=1), mask)


def _scaled_products(left: Tensor, right: Tensor, heads: int) -> Tensor:
    """Return the scaled dot products of all pairs of positions per head, ``(batch, heads, sequence, sequence)``."""
    left, right = (
        vectors.float().unflatten(-1, (heads, -1)).transpose(1, 2)  # (batch, heads, sequence, width / heads)
        for vectors in (left, right)
    )
    with torch.autocast(left.device.type, enabled=False):  # training may run under bfloat16
        return left @ right.transpose(-1, -2) / left.shape[-1] ** 0.5


def _mean_over_texts(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the batch of each text's mean over its unmasked `values`."""
    totals = (values * mask).flatten(1).sum(dim=1)
    return (totals / mask.flatten(1).sum(dim=1)).mean()


def check_equal_widths(strategy: str, student: PreTrainedModel, teacher: PreTrainedModel) -> None:
    """Refuse a student whose hidden states differ in width from the teacher's.

    Raises:
        UsageError: their widths differ.
    """
    width, teacher_width = student.config.hidden_size, teacher.config.hidden_size
    if width != teacher_width:
        raise UsageError(
            f"strategy {strategy!r}: the student's hidden states are {width} wide and the teacher's {teacher_width}, but "
            "both must have one width; leave out hidden_size and init, or take vanilla-kd, which matches logits alone"
        )


def stage_shares(bench: Bench, first: float) -> tuple[float, float]:
    """Return the shares of the budget's steps for two training stages, which add up to exactly its steps.

    Args:
        bench: the bench whose budget is split.
        first: the share of the first stage, between 0 and 1; rounded to whole steps, at least one per stage.
    """
    steps = bench.steps
    first_steps = max(1, min(round(first * steps), steps - 1))
    return first_steps / steps, (steps - first_steps) / steps
