"""Drop the top layers of a fitted model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench_plugins._recovery import RecoveryParams, recover
from pydantic import Field

from kdbench import Bench, TaskKind, Transform, UsageError

if TYPE_CHECKING:
    from torch import nn


class DropLayers(Transform):
    """Drop the top transformer layers, then train for the budget's steps (Sajjad et al. 2023, top-layer dropping)."""

    class Params(RecoveryParams):
        drop: int = Field(2, ge=1, description="number of top transformer layers to drop")

    name = "drop-layers"
    title = "Top layers dropped"
    citation = "Sajjad et al. 2023, On the Effect of Dropping Layers of Pre-trained Transformer Models, arXiv:2004.03844"
    family = "compression"
    learning_rates = {**dict.fromkeys(TaskKind, 5e-5), TaskKind.TOKEN_CLASSIFICATION: 2e-4}
    params: Params

    def transform(self, model: nn.Module, bench: Bench) -> nn.Module:
        from kdbench_plugins._pruning import hf_model

        from kdbench import keep_layers

        inner = hf_model(model, self.name)
        depth = inner.config.num_hidden_layers
        if self.params.drop >= depth:
            raise UsageError(
                f"strategy {self.name!r}: drop={self.params.drop}, but the model has {depth} layers; "
                f"drop at most {depth - 1}"
            )
        keep_layers(inner, range(depth - self.params.drop))
        return recover(model, bench, self.params.recovery)
