"""Build the model that carries bottleneck adapters."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from torch import Tensor, nn
from transformers import PreTrainedModel

from kdbench import FolderModel, UsageError, architecture_of, build_architecture

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
