"""Continue training after pruning, to recover quality."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from pydantic import Field

from kdbench import Bench, Loss, Params, model_inputs

if TYPE_CHECKING:
    from torch import nn


class RecoveryParams(Params):
    """How long the model trains after pruning."""

    recovery: float = Field(
        1.0, ge=0, le=1, description="share of the budget's steps trained after pruning; 0 skips training"
    )


class DistilledRecoveryParams(RecoveryParams):
    """How long the pruned model trains, and how much it learns from the model before pruning."""

    alpha: float = Field(
        0.5,
        ge=0,
        le=1,
        description="weight of the loss against the outputs of the model before pruning; 1 - alpha is that of the labels",
    )


def recover(
    model: nn.Module, bench: Bench, recovery: float, *, original: nn.Module | None = None, alpha: float = 0.0
) -> nn.Module:
    """Return `model`, trained for `recovery` of the budget's steps.

    Args:
        model: the pruned model.
        original: the model before pruning, see `before_pruning`, which is distilled with weight `alpha` (Hou et al. 2020,
            section 2.1.2); without it, the model trains on the labels alone.
    """
    if not recovery:
        return model
    if bench.params.dropout is not None:
        _set_dropout(model, bench.params.dropout)
    loss = None if original is None else _distilling_loss(original, bench, alpha)
    return bench.train(model, loss=loss, share=recovery)


def before_pruning(model: nn.Module, params: DistilledRecoveryParams) -> nn.Module | None:
    """Return a frozen copy of `model` to distil after it is pruned; None where `params` distil nothing."""
    if not (params.recovery and params.alpha):
        return None
    return copy.deepcopy(model).requires_grad_(False).eval()


def _distilling_loss(original: nn.Module, bench: Bench, alpha: float) -> Loss:
    def loss(student, batch, teacher):  # type: ignore[no-untyped-def]
        targets = original(**model_inputs(batch)).logits
        return bench.kind.distillation_loss(
            student.logits, targets, batch["labels"], temperature=1.0, alpha=alpha
        )

    return loss


def _set_dropout(model: nn.Module, probability: float) -> None:
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability
