"""Train a model again after a part of it was cut out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from kdbench import Bench, Params

if TYPE_CHECKING:
    from torch import nn


class RecoveryParams(Params):
    """How long a model trains after the cut."""

    recovery: float = Field(
        0.25, ge=0, le=1, description="share of the budget's steps trained after the cut; 0 trains nothing"
    )


def recovered(model: nn.Module, bench: Bench, recovery: float) -> nn.Module:
    """Return `model`, trained on the labels for `recovery` of the budget's steps."""
    if not recovery:
        return model
    if bench.params.dropout is not None:
        _set_dropout(model, bench.params.dropout)
    return bench.train(model, share=recovery)


def _set_dropout(model: nn.Module, share: float) -> None:
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = share
