"""Compute losses between the intermediate layers of a student and its teacher, without padding.

Each loss follows its paper for one text, is computed in float32 and averaged over the texts of a batch, so that a text
has the same weight whatever it is padded to. Each is zero where student and teacher are equal.

A `mask` is the batch's ``attention_mask``, ``(batch, sequence)``: 1 for a text's word pieces and 0 for padding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from kdbench_plugins._attention_vectors import AttentionVectors
from torch import Tensor
from torch.nn import functional

from kdbench import Bench, UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


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
    student: AttentionVectors,
    teacher: AttentionVectors,
    mask: Tensor,
    *,
    heads: int,
    relative: bool = False,
    window: int | None = None,
) -> Tensor:
    """Return the mean squared difference of attention scores before the softmax, over pairs of word pieces and heads.

    A score is a query times a key over the root of the head's width (Jiao et al. 2020, arXiv:1909.10351, equation 7).

    Args:
        student: the vectors of the student's layer.
        teacher: those of the teacher's layer; the widths may differ.
        mask: see above.
        heads: the number of attention heads of both models; several may share the keys of one head.
        relative: divide by the mean square of the teacher's scores.
        window: the largest distance of two word pieces that attend to each other; None if all do.
    """
    own, target = (
        _scaled_products(model.query, _key_per_query(model, heads), heads) for model in (student, teacher)
    )
    pairs = mask[:, :, None] * mask[:, None, :]
    if window is not None:
        places = torch.arange(mask.shape[1], device=mask.device)
        pairs = pairs * ((places[:, None] - places).abs() <= window)
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


def _key_per_query(vectors: AttentionVectors, heads: int) -> Tensor:
    """Return the keys ``(batch, sequence, width)`` with a head for each of the queries' `heads`."""
    size = vectors.query.shape[-1] // heads
    keys = vectors.key.unflatten(-1, (-1, size))
    return keys.repeat_interleave(heads // keys.shape[-2], dim=-2).flatten(-2)


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
            "both must have one width; leave out hidden_size, or take a teacher as wide as the student, or tinybert, which projects"
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
