"""Losses that strategies put together; padding and masked positions never count.

Every function returns a scalar: the mean over the counted positions. Losses of logits, ``(batch, classes)`` or
``(batch, sequence, classes)``, count a position unless its label is `IGNORED` (-100); one that is `UNLABELLED`
(-101, or NaN in regression) counts for the teacher's losses and not for the labels'. Losses of hidden states,
``(batch, sequence, hidden)``, count the positions that they are told.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from kdbench.api.task import IGNORED


def task_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss against hard labels: cross-entropy for class indices, mean squared error for floats.

    Where nothing is labelled it is zero.

    Args:
        logits: ``(batch, classes)``, ``(batch, sequence, classes)``, or ``(batch, 1)`` for regression.
        labels: ``(batch,)`` or ``(batch, sequence)``.
    """
    if labels.is_floating_point():
        known = ~labels.isnan()
        differences = logits.squeeze(-1).float()[known] - labels[known]
        return differences.square().sum() / known.sum().clamp(min=1)
    known = labels >= 0
    total = functional.cross_entropy(logits[known].float(), labels[known], reduction="sum")
    return total / known.sum().clamp(min=1)


def soft_target_loss(student: Tensor, teacher: Tensor, labels: Tensor, *, temperature: float) -> Tensor:
    """Return the distillation loss against the teacher's logits.

    For classes it is the Kullback-Leibler divergence from teacher to student in nats, both softened by
    `temperature` T and scaled by T², so that its gradient keeps its size when T changes (Hinton et al. 2015,
    arXiv:1503.02531, section 2). Its gradient is that of the paper's cross-entropy; unlike it, it is zero where the
    student equals the teacher. For regression, where `labels` are floats, it is the mean squared difference.
    """
    if labels.is_floating_point():
        return functional.mse_loss(student.float(), teacher.float())
    counted = labels != IGNORED
    student_log = functional.log_softmax(student[counted].float() / temperature, dim=-1)
    teacher_log = functional.log_softmax(teacher[counted].float() / temperature, dim=-1)
    divergence = functional.kl_div(student_log, teacher_log, reduction="sum", log_target=True)
    return divergence * temperature**2 / torch.clamp(counted.sum(), min=1)


def distillation_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, *, temperature: float, alpha: float
) -> Tensor:
    """Return alpha times the loss against the teacher's logits plus 1 - alpha times that against the labels.

    Hinton et al. 2015, arXiv:1503.02531, section 2.
    """
    soft = soft_target_loss(student, teacher, labels, temperature=temperature)
    return alpha * soft + (1 - alpha) * task_loss(student, labels)


def cosine_loss(student: Tensor, teacher: Tensor, counted: Tensor) -> Tensor:
    """Return how far the directions of hidden states lie apart: 1 - cosine, from 0 to 2.

    Sanh et al. 2019, arXiv:1910.01108, section 2, where it is called the cosine embedding loss.

    Args:
        student: hidden states of one layer, ``(batch, sequence, hidden)``.
        teacher: likewise, and of the same width.
        counted: ``(batch, sequence)``, not zero where a position counts: an attention mask.
    """
    here = counted.bool()
    return (1 - functional.cosine_similarity(student[here].float(), teacher[here].float(), dim=-1)).mean()


def patient_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], counted: Tensor) -> Tensor:
    """Return the mean squared difference of hidden states that were scaled to length one.

    Sun et al. 2019, arXiv:1908.09355, section 3.2, where the squares are summed; the mean, over layers, counted
    positions and width, is what the authors' code takes and their weights of it are meant for.

    Args:
        student: hidden states of some layers, each ``(batch, sequence, hidden)``.
        teacher: as many, each to be matched by the student's in the same place, and of the same width.
        counted: ``(batch, sequence)``, not zero where a position counts.
    """
    here = counted.bool()
    mine, wanted = (
        functional.normalize(torch.stack([states[here] for states in layers]).float(), dim=-1)
        for layers in (student, teacher)
    )
    return functional.mse_loss(mine, wanted)
