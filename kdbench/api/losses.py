"""Compute distillation losses, the building blocks of strategies; padding and masked positions never count.

Every function returns a scalar: the mean over the counted positions. Losses on logits, ``(batch, classes)`` or
``(batch, sequence, classes)``, count a position unless its label is `IGNORED` (-100); an `UNLABELLED` position
(-101, or NaN in regression) counts in losses against the teacher but not in losses against labels. Losses on hidden
states, ``(batch, sequence, hidden)``, count the positions that an explicit mask selects.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from kdbench.api.kind import IGNORED

_SMALL = 1e-6
"""The least norm that is divided by: texts may have equal vectors."""


def task_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss against hard labels: cross-entropy for class indices, mean squared error for floats.

    It is zero where no position is labelled.

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


def weighted_class_loss(
    logits: Tensor, labels: Tensor, *, weights: Sequence[float] | None, gamma: float
) -> Tensor:
    """Return the weighted mean of the focal loss ``-(1 - p)^gamma log p``, p being the right class's probability.

    Lin et al. 2017, arXiv:1708.02002, equation 5, whose alpha are `weights`, by class; with gamma 0 it is torch's weighted
    cross-entropy. It is zero where no position is labelled. Shapes are those of `task_loss`.
    """
    known = labels >= 0
    log_p = functional.log_softmax(logits[known].float(), dim=-1)
    right = log_p.gather(-1, labels[known][:, None])[:, 0]
    counted = torch.ones_like(right) if weights is None else right.new_tensor(weights)[labels[known]]
    terms = -counted * _focus(right, gamma) * right
    return terms.sum() / counted.sum().clamp(min=torch.finfo(terms.dtype).tiny)


def several_labels_loss(
    logits: Tensor, labels: Tensor, *, weights: Sequence[float] | None = None, gamma: float = 0.0
) -> Tensor:
    """Return the mean over texts and labels of the binary focal loss; with gamma 0 it is binary cross-entropy.

    Args:
        logits: ``(batch, labels)``.
        labels: ``(batch, labels)``: 1 for each label of a text, 0 for each other, `UNLABELLED` where unknown.
        weights: one per label, by which the term of a text with the label is multiplied.
        gamma: as in `weighted_class_loss`.
    """
    known = labels >= 0
    given = labels.clamp(min=0).float()
    log_p = functional.logsigmoid(logits.float() * (2 * given - 1))
    counted = torch.ones_like(given)
    if weights is not None:
        counted = torch.where(given > 0, given.new_tensor(weights), counted)
    terms = -counted * _focus(log_p, gamma) * log_p
    return terms[known].sum() / known.sum().clamp(min=1)


def _focus(log_p: Tensor, gamma: float) -> Tensor:
    """Return ``(1 - p)^gamma``; of a gamma below 1 the gradient is that of p slightly below 1."""
    if not gamma:
        return torch.ones_like(log_p)
    return (-torch.expm1(log_p)).clamp(min=1e-6) ** gamma


def soft_target_loss(student: Tensor, teacher: Tensor, labels: Tensor, *, temperature: float) -> Tensor:
    """Return the distillation loss against the teacher's logits.

    In classification it is the Kullback-Leibler divergence from teacher to student in nats, both softened by
    `temperature` T, scaled by T² so that the gradient's magnitude does not depend on T (Hinton et al. 2015,
    arXiv:1503.02531, section 2). It has the same gradient as the paper's cross-entropy, but is zero where the student
    equals the teacher. In regression, where `labels` are floats, it is the mean squared difference.
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


def decoupled_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, *, temperature: float, alpha: float, beta: float
) -> Tensor:
    """Return alpha times the loss of the target class plus beta times that of the other classes, against the teacher's.

    The first is the divergence between the probabilities of the labelled class and of all others together, the second
    that between the distributions over the other classes; both from teacher to student, softened by `temperature` T and
    scaled by T² (Zhao et al. 2022, arXiv:2203.08679, equations 6 and 7). `soft_target_loss` has, instead of beta, the
    teacher's probability of the other classes. Positions without a label do not count.

    Args:
        student: ``(batch, classes)`` or ``(batch, sequence, classes)``.
        teacher: the teacher's logits, of the same shape.
        labels: class indices, ``(batch,)`` or ``(batch, sequence)``.
    """
    known = labels >= 0
    target = functional.one_hot(labels[known], student.shape[-1]).bool()
    targets, others = [], []
    for logits in (student, teacher):
        softened = logits[known].float() / temperature
        log_all = functional.log_softmax(softened, dim=-1)
        rest = torch.logsumexp(log_all.masked_fill(target, -torch.inf), dim=-1)
        targets.append(torch.stack([log_all[target], rest], dim=-1))
        others.append(functional.log_softmax(softened[~target].view(len(target), -1), dim=-1))
    of_target, of_others = (
        functional.kl_div(ours, theirs, reduction="sum", log_target=True)
        for ours, theirs in (targets, others)
    )
    return (alpha * of_target + beta * of_others) * temperature**2 / known.sum().clamp(min=1)


def cosine_loss(student: Tensor, teacher: Tensor, counted: Tensor) -> Tensor:
    """Return the mean cosine distance between hidden states: 1 - cosine similarity, from 0 to 2.

    Sanh et al. 2019, arXiv:1910.01108, section 2, where it is called the cosine embedding loss.

    Args:
        student: hidden states of one layer, ``(batch, sequence, hidden)``.
        teacher: hidden states of the same shape.
        counted: ``(batch, sequence)``, nonzero where a position counts, such as an attention mask.
    """
    mask = counted.bool()
    return (1 - functional.cosine_similarity(student[mask].float(), teacher[mask].float(), dim=-1)).mean()


def patient_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], counted: Tensor) -> Tensor:
    """Return the mean squared difference between hidden states normalized to unit length.

    Sun et al. 2019, arXiv:1908.09355, section 3.2, where the squares are summed; the authors' code takes the mean over
    layers, counted positions and width, and the loss weights in the paper refer to that.

    Args:
        student: hidden states of some layers, each ``(batch, sequence, hidden)``.
        teacher: the hidden states to match, one for each of `student`, of the same width.
        counted: ``(batch, sequence)``, nonzero where a position counts.
    """
    mask = counted.bool()
    student_states, teacher_states = (
        functional.normalize(torch.stack([states[mask] for states in layers]).float(), dim=-1)
        for layers in (student, teacher)
    )
    return functional.mse_loss(student_states, teacher_states)


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return how far the distances between a batch's texts are from those in the teacher, by Huber's loss.

    Distances are divided by their mean over the pairs that differ, in student and teacher each, so that the two may have
    different widths (Park et al. 2019, arXiv:1904.05068, equations 5 to 8). As in the authors' code, the mean is over all
    pairs, with those of a text and itself.

    Args:
        student: ``(batch, width)``.
        teacher: ``(batch, width of the teacher)``.
    """
    return functional.smooth_l1_loss(_relative_distances(student), _relative_distances(teacher))


def _relative_distances(vectors: Tensor) -> Tensor:
    vectors = vectors.float()
    # Exact: by products, distances between near texts would be differences of large numbers.
    distances = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
    mean = distances.sum() / (distances > 0).sum().clamp(min=1)
    return distances / mean.clamp(min=_SMALL)


def angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return how far the angles of a batch's triples of texts are from those in the teacher, by Huber's loss.

    The angle of three texts is the cosine at the second of them (Park et al. 2019, arXiv:1904.05068, equations 9 and 10).
    As in the authors' code, the mean is over all triples, also those that name a text twice.

    Args:
        student: ``(batch, width)``.
        teacher: ``(batch, width of the teacher)``.
    """
    return functional.smooth_l1_loss(_angles(student), _angles(teacher))


def _angles(vectors: Tensor) -> Tensor:
    """Return the cosines at each text, ``(batch, batch, batch)``, of which the first axis names the text."""
    vectors = vectors.float()
    units = functional.normalize(vectors[None] - vectors[:, None], dim=-1, eps=_SMALL)
    return units @ units.transpose(1, 2)


def pair_loss(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Return how far the cosines between a batch's texts are from 1, for the same label, and from 0, for different ones.

    It is the mean of two means of squared differences: over all pairs of the same label, and over all others; if a
    batch has but one of the two, that one. Reimers and Gurevych 2019, arXiv:1908.10084, section 3, of pairs that are
    drawn as in Tunstall et al. 2022, arXiv:2209.11055, section 3.1: as many of the same label as of different ones.

    Args:
        embeddings: ``(batch, width)``.
        labels: ``(batch,)`` class indices.
    """
    units = functional.normalize(embeddings.float(), dim=-1)
    first, second = torch.triu_indices(len(units), len(units), offset=1, device=units.device)
    same = labels[first] == labels[second]
    squares = ((units[first] * units[second]).sum(-1) - same.float()).square()
    means = [squares[chosen].mean() for chosen in (same, ~same) if chosen.any()]
    return torch.stack(means).mean() if means else squares.sum()
