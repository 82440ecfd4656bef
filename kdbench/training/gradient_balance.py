"""Balance the tasks of joint training by the norms of their gradients."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

import torch
from torch import Tensor, nn

_DECAY = 0.9
"""The decay of the running mean of gradient norms."""


class GradientBalance:
    """Weights each task's loss by the ratio of the mean of all tasks' gradient norms to the task's own.

    A task's norm is the running mean of the Euclidean norm of the gradient of its unweighted loss in the shared weights,
    before clipping; until its first batch is done, its weight is 1. This directly reaches the aim of GradNorm (Chen et
    al. 2018, arXiv:1711.02257, equation 1) with alpha = 0, which pulls every task's norm to the mean: GradNorm learns
    its weights by gradient descent, needs all tasks in every step and, with alpha > 0, also favours tasks that learn
    slowly.

    Args:
        shared: the weights that all tasks share.
    """

    def __init__(self, shared: Iterable[nn.Parameter]) -> None:
        self._norms: dict[str, float] = {}
        self._squares: list[Tensor] = []
        self._pending = ("", 1.0)
        self._hooks = [
            weight.register_post_accumulate_grad_hook(self._add_gradient)  # type: ignore[no-untyped-call]
            for weight in shared
        ]

    def weigh(self, task: str, loss: Tensor) -> Tensor:
        """Return the loss of one step times the weight of `task`; the step's gradients update the task's norm."""
        self._update_norm()
        self._pending = (task, self.weight(task))
        return loss * self._pending[1]

    def weight(self, task: str) -> float:
        """Return the weight of `task`, from the gradients up to the previous step."""
        own = self._norms.get(task)
        return fmean(self._norms.values()) / own if own else 1.0

    def stop(self) -> None:
        """Remove the gradient hooks."""
        for hook in self._hooks:
            hook.remove()

    def _add_gradient(self, weight: Tensor) -> None:
        assert weight.grad is not None
        self._squares.append(weight.grad.square().sum())

    def _update_norm(self) -> None:
        """Update the running norm of the last step's task with that step's gradient, divided by its loss weight."""
        if not self._squares:
            return
        task, weight = self._pending
        norm = float(torch.stack(self._squares).sum().sqrt()) / weight
        self._squares.clear()
        if norm > 0:  # a batch without labels has no gradient
            self._norms[task] = _DECAY * self._norms.get(task, norm) + (1 - _DECAY) * norm
