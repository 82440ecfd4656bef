"""Bottleneck adapters, and the model that carries them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from kdbench_plugins._parameter_efficient import LongWarmUp, ParameterEfficient
from pydantic import Field

from kdbench import Bench, TaskKind

if TYPE_CHECKING:
    from torch import nn


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
    citation = "Houlsby et al. 2019, Parameter-Efficient Transfer Learning for NLP, arXiv:1902.00751"
    note = (
        "Its adapters are not linear and cannot be merged: every layer computes two projections more, twice."
    )
    learning_rates = dict.fromkeys(TaskKind, 1e-3)
    params: Params

    def fit(self, bench: Bench) -> nn.Module:
        """Return the frozen base model with trained adapters and head."""
        from kdbench_plugins._adapter_model import AdapterModel

        model = AdapterModel.around(
            bench.base(),
            placement="houlsby",
            bottleneck=self.params.bottleneck,
            activation=self.params.activation,
        )
        model.train_only_adapters(norms=self.params.train_norms)
        return bench.train(model)


class AdapterPfeiffer(ParameterEfficient):
    """Train one adapter a layer, after the feed-forward part (Pfeiffer et al. 2021)."""

    class Params(LongWarmUp):
        """The adapters' shape."""

        bottleneck: int = Field(48, ge=1, description="m, the width that adapters project down to")
        activation: Literal["gelu", "relu"] = Field("relu", description="non-linearity of the adapters")

    name = "adapter-pfeiffer"
    title = "Adapters (Pfeiffer), one a layer"
    citation = (
        "Pfeiffer et al. 2021, AdapterFusion: Non-Destructive Task Composition for Transfer Learning, "
        "arXiv:2005.00247"
    )
    note = "Its adapters are not linear and cannot be merged: every layer computes two projections more."
    learning_rates = dict.fromkeys(TaskKind, 2e-3)
    params: Params

    def fit(self, bench: Bench) -> nn.Module:
        """Return the frozen base model with trained adapters and head."""
        from kdbench_plugins._adapter_model import AdapterModel

        model = AdapterModel.around(
            bench.base(),
            placement="pfeiffer",
            bottleneck=self.params.bottleneck,
            activation=self.params.activation,
        )
        model.train_only_adapters(norms=False)
        return bench.train(model)
