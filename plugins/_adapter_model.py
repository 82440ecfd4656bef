"""Define bottleneck adapters and the model that contains them."""

from __future__ import annotations

from typing import Any, cast

from kdbench_plugins._parameter_efficient import freeze_encoder
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdbench import FolderModel, architecture_of, build_architecture, structure

_ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}


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


def _adapt_output(layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    """Add the adapter of a layer to what the layer returns, as a forward hook (see `AdapterModel`)."""
    adapter: Any = layer.adapter
    return cast(Tensor, output + adapter(output))


class AdapterModel(FolderModel):
    """Wrap a transformers model with adapters in every layer; one that all layers share has its adapters once.

    In a layer that normalizes the inputs of its sublayers, no normalization follows the second residual sum s. There the
    adapter of ``pfeiffer`` reads the sum itself, and the layer returns ``s + adapter(s)``.

    Args:
        architecture: class and configuration of the model, from `architecture_of`.
        placement: ``houlsby``, two adapters per layer, or ``pfeiffer``, one per layer.
        bottleneck: width of the adapters.
        activation: non-linearity of the adapters, ``gelu`` or ``relu``.
        base: the model to add adapters to, changed in place; by default a randomly initialized one.

    Raises:
        UsageError: the layers of this architecture are laid out as no known one's.
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
        width = self.model.config.hidden_size
        for layer in structure.structure_of(self.model, f"adapter-{placement}").layers:
            if placement == "houlsby":
                for end in layer.ends:
                    _wrap(layer.module, end, AdaptedSublayer, Adapter(width, bottleneck, activation))
            elif layer.last_norm is not None:
                _wrap(layer.module, layer.last_norm, AdaptedNorm, Adapter(width, bottleneck, activation))
            else:
                layer.module.adapter = Adapter(width, bottleneck, activation)
                layer.module.register_forward_hook(_adapt_output)

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
        trained = [module for module in self.model.base_model.modules() if isinstance(module, Adapter)]
        for module in (*trained, *(structure.norms_of(self.model.base_model) if norms else ())):
            module.requires_grad_(True)


def _wrap(layer: nn.Module, name: str, wrapper: type[nn.Module], adapter: Adapter) -> None:
    layer.set_submodule(name, wrapper(layer.get_submodule(name), adapter))
