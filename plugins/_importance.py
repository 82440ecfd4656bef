"""How much the loss depends on parts of a network, to the first order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from kdbench.api.losses import task_loss
from kdbench.api.task import IGNORED
from kdbench.data.batches import Batch, model_inputs
from kdbench.utils.system import axis_seed

if TYPE_CHECKING:
    from kdbench.training.bench import Bench

_BATCH_SIZE = 32


def training_batches(bench: Bench, examples: int) -> Iterator[Batch]:
    """Yield at most `examples` training rows, drawn from the seed, in batches of similar lengths."""
    rows = bench.task.train
    draw = np.random.default_rng(axis_seed(bench.seed, "strategy"))
    chosen = draw.permutation(len(rows))[:examples]
    chosen = chosen[np.argsort(np.asarray(rows["length"])[chosen], kind="stable")]
    for start in range(0, len(chosen), _BATCH_SIZE):
        batch = bench.experiment.collate([rows[int(i)] for i in chosen[start : start + _BATCH_SIZE]])
        yield {name: value.to(bench.experiment.device) for name, value in batch.items()}


def mask_importance(
    model: nn.Module, layers: Sequence[tuple[nn.Linear, int]], batches: Iterable[Batch]
) -> list[Tensor]:
    """Return for each of `layers` ``(groups,)``: the mean over examples of ``|xi dL/dxi|`` at ``xi = 1``.

    The mask xi multiplies a group of a layer's inputs: a head's outputs before the output projection (Michel et al.
    2019, arXiv:1905.10650, equation 2), or one neuron's activation, where it is ``|sum of activation x gradient|``
    (Molchanov et al. 2017, arXiv:1611.06440, equation 8, up to the number of positions). L is the loss of one
    example, for tokens the sum over its words.

    Args:
        model: on the device of `batches`.
        layers: a linear layer of `model`, and the number of equal groups that its inputs fall into.
    """
    masks: list[Tensor] = []
    totals = [torch.zeros(groups, device=linear.weight.device) for linear, groups in layers]
    examples = 0
    model.eval()
    hooks = [linear.register_forward_pre_hook(_masking(masks, i)) for i, (linear, _) in enumerate(layers)]
    try:
        for batch in batches:
            labels = batch["labels"]
            masks[:] = [
                linear.weight.new_ones(len(labels), groups).requires_grad_() for linear, groups in layers
            ]
            mean = task_loss(model(**model_inputs(batch)).logits, labels)
            # Examples do not touch each other: the gradient of the sum holds each one's own.
            gradients = torch.autograd.grad(mean * (labels != IGNORED).sum(), masks)
            for total, gradient in zip(totals, gradients, strict=True):
                total += gradient.abs().sum(dim=0)
            examples += len(labels)
    finally:
        for hook in hooks:
            hook.remove()
    return [total.cpu() / examples for total in totals]


def _masking(masks: list[Tensor], index: int) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Tensor]]:
    def masked(linear: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
        mask = masks[index]
        grouped = inputs[0].unflatten(-1, (mask.shape[1], -1))  # (batch, sequence, groups, units)
        return ((grouped * mask[:, None, :, None]).flatten(-2),)

    return masked
