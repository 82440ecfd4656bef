"""Two bottleneck adapters a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from kdbench_plugins._parameter_efficient import LongWarmUp, ParameterEfficient
from pydantic import Field

from kdbench import TaskKind

if TYPE_CHECKING:
    from torch import nn

    from kdbench.training.bench import Bench


class AdapterHoulsby(ParameterEfficient):
    """Train adapters after attention and after the feed-forward part of every layer (Houlsby et al. 2019, section 2)."""

    class Params(LongWarmUp):
        """The adapters' shape, and what is trained beside them."""

        bottleneck: int = Field(64, ge=1, description="m, the width that adapters project down to")
        activation: Literal["gelu", "relu"] = Field("gelu", description="non-linearity of the adapters")
        train_norms: bool = Field(
            True, description="whether the encoder's layer normalizations are trained, too"
        )

    name = "adapter-houlsby"
    title = "Adapters (Houlsby), two a layer"
    reference = "Houlsby et al. 2019, Parameter-Efficient Transfer Learning for NLP, arXiv:1902.00751"
    note = (
        "Its adapters are not linear and cannot be merged: every layer computes two projections more, twice."
    )
    learning_rates = dict.fromkeys(TaskKind, 1e-3)
    params: Params

    def fit(self, bench: Bench) -> nn.Module:
        """Return the frozen base model with trained adapters and head."""
        from kdbench_plugins._adapters import AdapterModel

        model = AdapterModel.around(
            bench.base(),
            placement="houlsby",
            bottleneck=self.params.bottleneck,
            activation=self.params.activation,
        )
        model.train_only_adapters(norms=self.params.train_norms)
        return bench.train(model)
