"""Train bottleneck adapters in a frozen encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from kdbench_plugins._parameter_efficient import LongWarmUp, ParameterEfficient
from pydantic import Field

from kdbench import Bench, TaskKind

if TYPE_CHECKING:
    from torch import nn


class _Adapters(ParameterEfficient):
    """Train adapters, placed by the rest of the strategy's name, in a frozen encoder."""

    def fit(self, bench: Bench) -> nn.Module:
        from kdbench_plugins._adapter_model import AdapterModel

        model = AdapterModel.around(
            bench.base(),
            placement=self.name.removeprefix("adapter-"),
            bottleneck=self.params.bottleneck,
            activation=self.params.activation,
        )
        model.train_only_adapters(norms=getattr(self.params, "train_norms", False))
        return bench.train(model)


class AdapterHoulsby(_Adapters):
    """Train adapters after attention and the feed-forward network of every layer (Houlsby et al. 2019, section 2)."""

    class Params(LongWarmUp):
        bottleneck: int = Field(64, ge=1, description="m, the bottleneck width of the adapters")
        activation: Literal["gelu", "relu"] = Field("gelu", description="non-linearity of the adapters")
        train_norms: bool = Field(True, description="also train the layer normalizations of the encoder")

    name = "adapter-houlsby"
    title = "Adapters (Houlsby), two per layer"
    citation = "Houlsby et al. 2019, Parameter-Efficient Transfer Learning for NLP, arXiv:1902.00751"
    note = (
        "Its adapters are not linear and cannot be merged: every layer computes four additional projections."
    )
    learning_rates = dict.fromkeys(TaskKind, 1e-3)
    params: Params


class AdapterPfeiffer(_Adapters):
    """Train one adapter per layer, after the feed-forward network (Pfeiffer et al. 2021)."""

    class Params(LongWarmUp):
        bottleneck: int = Field(48, ge=1, description="m, the bottleneck width of the adapters")
        activation: Literal["gelu", "relu"] = Field("relu", description="non-linearity of the adapters")

    name = "adapter-pfeiffer"
    title = "Adapters (Pfeiffer), one per layer"
    citation = (
        "Pfeiffer et al. 2021, AdapterFusion: Non-Destructive Task Composition for Transfer Learning, "
        "arXiv:2005.00247"
    )
    note = (
        "Its adapters are not linear and cannot be merged: every layer computes two additional projections."
    )
    learning_rates = dict.fromkeys(TaskKind, 2e-3)
    params: Params
