"""Continue training after pruning, to recover quality."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from kdbench import Bench, Params

if TYPE_CHECKING:
    from torch import nn


class RecoveryParams(Params):
    """How long the model trains after pruning."""

    recovery: float = Field(
        0.25, ge=0, le=1, description="share of the budget's steps trained after pruning; 0 skips training"
    )


def recover(model: nn.Module, bench: Bench, recovery: float) -> nn.Module:
    """Return `model`, trained on the labels for `recovery` of the budget's steps."""
    if not recovery:
        return model
    if bench.params.dropout is not None:
        _set_dropout(model, bench.params.dropout)
    return bench.train(model, share=recovery)


def _set_dropout(model: nn.Module, probability: float) -> None:
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability
