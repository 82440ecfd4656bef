"""Bottleneck adapters, and the model that carries them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from kdbench_plugins._parameter_efficient import LongWarmUp, ParameterEfficient
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdbench import TaskKind, UsageError
from kdbench.api.models import FolderModel, architecture_of, build_architecture

if TYPE_CHECKING:
    from kdbench.training.bench import Bench


_STD = 0.01
_ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}


class _Places(NamedTuple):
    """What the ends of the two sublayers are called within one transformer layer."""

    ends: tuple[str, str]
    """The last modules before the residual sums, after attention and after the feed-forward part."""
    norm: str
    """The normalization of the second sum."""


_PLACES = (
    _Places(("attention.output.dropout", "output.dropout"), "output.LayerNorm"),  # BERT, RoBERTa, ELECTRA …
    _Places(("attention.dropout", "output.dropout"), "output.LayerNorm"),  # MPNet
    _Places(("attention.out_lin", "ffn.dropout"), "output_layer_norm"),  # DistilBERT
)


class Adapter(nn.Module):
    """What an adapter adds to its input x: ``W_up f(W_down x + b_down) + b_up``, zero at the start.

    Houlsby et al. 2019 (arXiv:1902.00751, section 2.1). ``W_down`` starts as in their section 3, from a normal
    distribution of standard deviation 0.01 cut at two deviations; ``W_up`` starts at zero, not only near it, so that
    an untrained adapter changes no bit.

    Args:
        width: of the input and the output, whose shape is ``(batch, sequence, width)``.
        bottleneck: the width in between.
        activation: f, ``gelu`` or ``relu``.
    """

    def __init__(self, width: int, bottleneck: int, activation: str) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.activation = _ACTIVATIONS[activation]()
        self.up = nn.Linear(bottleneck, width)
        nn.init.trunc_normal_(self.down.weight, std=_STD, a=-2 * _STD, b=2 * _STD)
        for start in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(start)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what is added to `inputs`."""
        return cast(Tensor, self.up(self.activation(self.down(inputs))))


class AdaptedSublayer(nn.Module):
    """The end of a sublayer with its adapter: ``h + adapter(h)``, before the residual sum (Houlsby et al., figure 2)."""

    def __init__(self, end: nn.Module, adapter: Adapter) -> None:
        super().__init__()
        self.end = end
        self.adapter = adapter

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the adapted output ``(batch, sequence, hidden)`` of the sublayer."""
        outputs = self.end(inputs)
        return cast(Tensor, outputs + self.adapter(outputs))


class AdaptedNorm(nn.Module):
    """A layer's last normalization with its adapter: ``norm(s + adapter(norm(s)))`` of the residual sum s.

    The adapter reads the normalized sum, adds to the sum itself, and the frozen normalization follows again (Pfeiffer
    et al. 2021, arXiv:2005.00247).
    """

    def __init__(self, norm: nn.Module, adapter: Adapter) -> None:
        super().__init__()
        self.norm = norm
        self.adapter = adapter

    def forward(self, total: Tensor) -> Tensor:
        """Return the layer's output for the residual sum `total`, both ``(batch, sequence, hidden)``."""
        return cast(Tensor, self.norm(total + self.adapter(self.norm(total))))


class AdapterModel(FolderModel):
    """A transformers model with adapters in every layer.

    Args:
        architecture: class and configuration of the model, from `architecture_of`.
        placement: ``houlsby``, two adapters a layer, or ``pfeiffer``, one.
        bottleneck: width of the adapters.
        activation: their non-linearity, ``gelu`` or ``relu``.
        base: the model that takes the adapters, changed in place; by default one of random weights.

    Raises:
        UsageError: the architecture's layers have other parts than those that adapters go to.
    """

    def __init__(
        self,
        architecture: dict[str, Any],
        placement: str,
        bottleneck: int,
        activation: str,
        base: PreTrainedModel | None = None,
    ) -> None:
        super().__init__(
            {
                "architecture": architecture,
                "placement": placement,
                "bottleneck": bottleneck,
                "activation": activation,
            }
        )
        self.model = base if base is not None else build_architecture(architecture)
        for layer, places in _layers(self.model, placement):
            for name in places.ends if placement == "houlsby" else [places.norm]:
                adapter = Adapter(self.model.config.hidden_size, bottleneck, activation)
                adapted = AdaptedSublayer if placement == "houlsby" else AdaptedNorm
                layer.set_submodule(name, adapted(layer.get_submodule(name), adapter))

    @classmethod
    def around(
        cls, base: PreTrainedModel, *, placement: str, bottleneck: int, activation: str
    ) -> AdapterModel:
        """Return `base` with untrained adapters: it answers as before."""
        return cls(architecture_of(base), placement, bottleneck, activation, base)

    def forward(self, **inputs: Any) -> Any:
        """Return the output of the model inside."""
        return self.model(**inputs)

    def train_only_adapters(self, *, norms: bool) -> None:
        """Freeze the encoder but for its adapters and, if asked, its layer normalizations; the head stays trainable."""
        encoder = self.model.base_model
        encoder.requires_grad_(False)
        for module in encoder.modules():
            # By name: DeBERTa has a layer normalization of its own.
            if isinstance(module, Adapter) or (norms and type(module).__name__.endswith("LayerNorm")):
                module.requires_grad_(True)


def _layers(model: PreTrainedModel, placement: str) -> list[tuple[nn.Module, _Places]]:
    """Return the transformer layers of `model`, each with the names of its places."""
    found = [
        (module, places)
        for module in model.base_model.modules()
        for places in _PLACES
        if all(_has(module, name) for name in (*places.ends, places.norm))
    ]
    if not found:
        raise UsageError(
            f"strategy 'adapter-{placement}': no place for adapters is known in {type(model).__name__}; "
            "take a model like BERT, RoBERTa, ELECTRA, DeBERTa, MPNet or DistilBERT"
        )
    return found


def _has(module: nn.Module, name: str) -> bool:
    try:
        module.get_submodule(name)
    except AttributeError:
        return False
    return True


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
        from kdbench_plugins.adapters import AdapterModel

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
        from kdbench_plugins.adapters import AdapterModel

        model = AdapterModel.around(
            bench.base(),
            placement="pfeiffer",
            bottleneck=self.params.bottleneck,
            activation=self.params.activation,
        )
        model.train_only_adapters(norms=False)
        return bench.train(model)
