"""Define bottleneck adapters and the model that contains them."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from kdbench_plugins._parameter_efficient import freeze_encoder
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdbench import FolderModel, UsageError, architecture_of, build_architecture

_ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}


class _SublayerNames(NamedTuple):
    """The names of the modules within a transformer layer that adapters wrap."""

    ends: tuple[str, str]
    """The last modules before the residual connections of attention and of the feed-forward network."""
    norm: str
    """The layer normalization after the second residual connection."""


_KNOWN_NAMES = (
    _SublayerNames(
        ("attention.output.dropout", "output.dropout"), "output.LayerNorm"
    ),  # BERT, RoBERTa, ELECTRA …
    _SublayerNames(("attention.dropout", "output.dropout"), "output.LayerNorm"),  # MPNet
    _SublayerNames(("attention.out_lin", "ffn.dropout"), "output_layer_norm"),  # DistilBERT
)


class Adapter(nn.Module):
    """Compute what an adapter adds to its input x: ``W_up f(W_down x + b_down) + b_up``, zero at initialization.

    Houlsby et al. 2019 (arXiv:1902.00751, section 2.1). ``W_down`` is drawn from a
    normal distribution of standard deviation ``1 / sqrt(width)``, truncated at two deviations: with the paper's 0.01 the
    bottleneck is nearly zero, and a few hundred steps do not tag a word. ``W_up`` is exactly zero, not near zero, so that an
    untrained adapter leaves the model's output bit-identical.

    Args:
        width: the width of the input and the output, both ``(batch, sequence, width)``.
        bottleneck: the width of the hidden layer.
        activation: f, ``gelu`` or ``relu``.
    """

    def __init__(self, width: int, bottleneck: int, activation: str) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.activation = _ACTIVATIONS[activation]()
        self.up = nn.Linear(bottleneck, width)
        deviation = width**-0.5
        nn.init.trunc_normal_(self.down.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
        for parameter in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(parameter)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the term to add to `inputs`, of the same shape."""
        return cast(Tensor, self.up(self.activation(self.down(inputs))))


class AdaptedSublayer(nn.Module):
    """Add an adapter to a sublayer's output h, before the residual sum: ``h + adapter(h)`` (Houlsby et al., figure 2)."""

    def __init__(self, end: nn.Module, adapter: Adapter) -> None:
        super().__init__()
        self.end = end
        self.adapter = adapter

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the adapted output ``(batch, sequence, hidden)`` of the sublayer."""
        outputs = self.end(inputs)
        return cast(Tensor, outputs + self.adapter(outputs))


class AdaptedNorm(nn.Module):
    """Add an adapter to a layer's last normalization: ``norm(s + adapter(norm(s)))`` of the residual sum s.

    The adapter reads the normalized sum, its output is added to the sum itself, and the same frozen normalization is
    applied again (Pfeiffer et al. 2021, arXiv:2005.00247).
    """

    def __init__(self, norm: nn.Module, adapter: Adapter) -> None:
        super().__init__()
        self.norm = norm
        self.adapter = adapter

    def forward(self, total: Tensor) -> Tensor:
        """Return the layer's output for the residual sum `total`, both ``(batch, sequence, hidden)``."""
        return cast(Tensor, self.norm(total + self.adapter(self.norm(total))))


class AdapterModel(FolderModel):
    """Wrap a transformers model with adapters in every layer.

    Args:
        architecture: class and configuration of the model, from `architecture_of`.
        placement: ``houlsby``, two adapters per layer, or ``pfeiffer``, one per layer.
        bottleneck: width of the adapters.
        activation: non-linearity of the adapters, ``gelu`` or ``relu``.
        base: the model to add adapters to, changed in place; by default a randomly initialized one.

    Raises:
        UsageError: the layers of this architecture have no module that adapters are known to wrap.
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
        for layer, names in _layers(self.model, placement):
            for name in names.ends if placement == "houlsby" else [names.norm]:
                adapter = Adapter(self.model.config.hidden_size, bottleneck, activation)
                adapted = AdaptedSublayer if placement == "houlsby" else AdaptedNorm
                layer.set_submodule(name, adapted(layer.get_submodule(name), adapter))

    @classmethod
    def around(
        cls, base: PreTrainedModel, *, placement: str, bottleneck: int, activation: str
    ) -> AdapterModel:
        """Return `base` with untrained adapters: its outputs are unchanged."""
        return cls(architecture_of(base), placement, bottleneck, activation, base)

    def forward(self, **inputs: Any) -> Any:
        """Return the output of the wrapped model."""
        return self.model(**inputs)

    def train_only_adapters(self, *, norms: bool) -> None:
        """Freeze what was pretrained, except, with `norms`, the layer normalizations."""
        freeze_encoder(self.model)
        for module in self.model.base_model.modules():
            # By class name: DeBERTa defines its own layer normalization class.
            if isinstance(module, Adapter) or (norms and type(module).__name__.endswith("LayerNorm")):
                module.requires_grad_(True)


def _layers(model: PreTrainedModel, placement: str) -> list[tuple[nn.Module, _SublayerNames]]:
    """Return the transformer layers of `model`, each with the names of the modules that adapters wrap."""
    layers = [
        (module, names)
        for module in model.base_model.modules()
        for names in _KNOWN_NAMES
        if all(_has(module, name) for name in (*names.ends, names.norm))
    ]
    if not layers:
        raise UsageError(
            f"strategy 'adapter-{placement}': cannot place adapters in {type(model).__name__}; "
            "take a model like BERT, RoBERTa, ELECTRA, DeBERTa, MPNet or DistilBERT"
        )
    return layers


def _has(module: nn.Module, name: str) -> bool:
    try:
        module.get_submodule(name)
    except AttributeError:
        return False
    return True
