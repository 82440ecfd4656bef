"""Describe an encoder's structure: its layers, and in each the parts that strategies read, adapt or cut.

An architecture is known by where it keeps these parts (`_LAYOUTS`), not by its class: RoBERTa, XLM-RoBERTa, ELECTRA and
CamemBERT are laid out as BERT is, and so is a class that transformers adds tomorrow with the same names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdbench.errors import UsageError

KNOWN = "BERT, RoBERTa, DistilBERT, ALBERT, ELECTRA, DeBERTa-v2, MPNet, ModernBERT or EuroBERT"
"""The architectures whose layers are known; others are often laid out as one of these."""


class _Layout(NamedTuple):
    """Where an architecture keeps the parts of a layer: names of modules within it."""

    attention: str
    """The module that reads the states and computes the attention."""
    projections: tuple[str, ...]
    """Within `attention`, queries, keys and values, or one layer of all three, one after the other; none if unknown."""
    output: str
    inner: tuple[str, ...]
    """Of the feed-forward network: the first layer or, where a gate multiplies it, two layers or one of twice the width."""
    outer: str
    ends: tuple[str, str]
    """The last modules before the residual sums of attention and of the feed-forward network."""
    last_norm: str | None
    """The normalization of the second residual sum; None where each sublayer normalizes its input instead."""
    first_norm: str | None = None
    """The normalization of what attention reads; None where it reads the layer's input as it is."""
    positions: tuple[str, ...] = ()
    """Within `attention`, further projections per head, if there are any: of relative positions."""


_QKV = ("query", "key", "value")
_BERT_FEED_FORWARD = (("intermediate.dense",), "output.dense")
_BERT_ENDS = ("attention.output.dropout", "output.dropout")
_LAYOUTS = (
    # BERT, RoBERTa, XLM-RoBERTa, CamemBERT, ELECTRA …
    _Layout(
        "attention.self",
        _QKV,
        "attention.output.dense",
        *_BERT_FEED_FORWARD,
        _BERT_ENDS,
        "output.LayerNorm",
    ),
    # DeBERTa-v2 and DeBERTa-v3
    _Layout(
        "attention.self",
        ("query_proj", "key_proj", "value_proj"),
        "attention.output.dense",
        *_BERT_FEED_FORWARD,
        _BERT_ENDS,
        "output.LayerNorm",
        positions=("pos_key_proj", "pos_query_proj"),
    ),
    # the first DeBERTa, which mixes the heads of queries, keys and values in one layer and adds biases elsewhere
    _Layout(
        "attention.self", (), "attention.output.dense", *_BERT_FEED_FORWARD, _BERT_ENDS, "output.LayerNorm"
    ),
    # MPNet
    _Layout(
        "attention.attn",
        ("q", "k", "v"),
        "attention.attn.o",
        *_BERT_FEED_FORWARD,
        ("attention.dropout", "output.dropout"),
        "output.LayerNorm",
    ),
    # DistilBERT
    _Layout(
        "attention",
        ("q_lin", "k_lin", "v_lin"),
        "attention.out_lin",
        ("ffn.lin1",),
        "ffn.lin2",
        ("attention.out_lin", "ffn.dropout"),
        "output_layer_norm",
    ),
    # ALBERT
    _Layout(
        "attention",
        _QKV,
        "attention.dense",
        ("ffn",),
        "ffn_output",
        ("attention.output_dropout", "ffn_output"),
        "full_layer_layer_norm",
    ),
    # ModernBERT, and with it Ettin and mmBERT
    _Layout(
        "attn", ("Wqkv",), "attn.Wo", ("mlp.Wi",), "mlp.Wo", ("attn.out_drop", "mlp.Wo"), None, "attn_norm"
    ),
    # EuroBERT
    _Layout(
        "self_attn",
        ("q_proj", "k_proj", "v_proj"),
        "self_attn.o_proj",
        ("mlp.gate_proj", "mlp.up_proj"),
        "mlp.down_proj",
        ("self_attn.o_proj", "mlp.down_proj"),
        None,
        "input_layernorm",
    ),
)


@dataclass(frozen=True)
class Projection:
    """Some outputs of a linear layer: all, or one of several equal parts."""

    linear: nn.Linear
    part: int = 0
    parts: int = 1

    @property
    def size(self) -> int:
        """The number of outputs."""
        return self.linear.out_features // self.parts

    @property
    def rows(self) -> slice:
        """The rows of the layer's weight ``(outputs, inputs)`` that compute these outputs."""
        return slice(self.part * self.size, (self.part + 1) * self.size)


@dataclass(frozen=True)
class Attention:
    """The self-attention of a layer."""

    module: Any
    """The module that reads the states ``(batch, sequence, hidden)`` and attends."""
    query: Projection
    key: Projection
    value: Projection
    output: nn.Linear
    """The projection of what the heads return, concatenated."""
    positions: tuple[nn.Linear, ...]
    """Projections of relative positions, ``(heads * head_size, hidden)``; empty in most architectures."""
    head_size: int
    window: int | None
    """The largest distance of two positions that attend to each other; None if all do."""
    rotary: nn.Module | None
    """The module that computes the rotation of queries and keys by their positions, if they are rotated."""
    layer_type: str | None
    """Which of several rotations `rotary` is to compute, if it knows several."""

    @property
    def heads(self) -> int:
        """The number of heads of queries."""
        return self.output.in_features // self.head_size

    @property
    def key_heads(self) -> int:
        """The number of heads of keys and values, each read by as many heads of queries."""
        return self.key.size // self.head_size

    def rotated(self, vectors: Tensor) -> Tensor:
        """Return queries or keys ``(batch, sequence, heads * head_size)``, rotated by their positions where the model does.

        A pair of values, one in each half of a head, turns by an angle that grows with the position (Su et al. 2021,
        arXiv:2104.09864, equation 34).
        """
        if self.rotary is None:
            return vectors
        positions = torch.arange(vectors.shape[1], device=vectors.device)[None]
        which = () if self.layer_type is None else (self.layer_type,)
        cosine, sine = (angles[:, :, None] for angles in self.rotary(vectors.float(), positions, *which))
        heads = vectors.float().view(*vectors.shape[:2], -1, self.head_size)
        first, second = heads.chunk(2, dim=-1)
        turned = heads * cosine + torch.cat([-second, first], dim=-1) * sine
        rotated: Tensor = turned.flatten(-2).to(vectors.dtype)
        return rotated


@dataclass(frozen=True)
class FeedForward:
    """The feed-forward network of a layer."""

    inner: tuple[Projection, ...]
    """One projection to the neurons or, where a gate multiplies them, two: each neuron has its row in both."""
    outer: nn.Linear
    """``(hidden, neurons)``."""


@dataclass(frozen=True)
class Layer:
    """A transformer layer."""

    module: nn.Module
    attention: Attention | None
    """None where queries, keys and values cannot be told apart."""
    attention_output: nn.Linear
    feed_forward: FeedForward
    first_norm: nn.Module | None
    """The normalization of what attention reads; None where it reads the layer's input as it is."""
    ends: tuple[str, str]
    """The names, within `module`, of the last modules before the residual sums of attention and feed-forward network."""
    last_norm: str | None
    """The name of the normalization of the second residual sum; None where each sublayer normalizes its input instead."""


@dataclass(frozen=True)
class Structure:
    """The layers of an encoder."""

    layers: tuple[Layer, ...]
    """The layers, first to last; a single one where all share its weights."""
    depth: int
    """How many layers a forward pass goes through."""

    @property
    def shared(self) -> bool:
        """Whether one layer is passed through several times (ALBERT)."""
        return len(self.layers) < self.depth

    def layer(self, number: int) -> Layer:
        """Return the layer with this number, counted from 1."""
        return self.layers[0] if self.shared else self.layers[number - 1]


def find_structure(model: PreTrainedModel) -> Structure | None:
    """Return the structure of `model`, or None if its layers are laid out as no known architecture's."""
    encoder = model.base_model
    depth = model.config.num_hidden_layers
    layers = [_layer(model, module, layout) for module, layout in _known_layers(encoder)]
    if not layers or len(layers) not in (1, depth):
        return None
    return Structure(tuple(layers), depth)


def structure_of(model: PreTrainedModel, strategy: str) -> Structure:
    """Return the structure of `model`.

    Raises:
        UsageError: its layers are laid out as no known architecture's; `strategy` is named as who needs it.
    """
    structure = find_structure(model)
    if structure is None:
        raise UsageError(
            f"strategy {strategy!r} cannot find the layers of {type(model).__name__}; take a base model built as {KNOWN}"
        )
    return structure


def attentions_of(model: PreTrainedModel, strategy: str) -> tuple[Attention, ...]:
    """Return the self-attention of each layer of `model`, or of the one that all share.

    Raises:
        UsageError: `strategy` needs it, and it is not known where this architecture keeps its queries, keys and values.
    """
    found = [layer.attention for layer in structure_of(model, strategy).layers]
    known = tuple(attention for attention in found if attention is not None)
    if len(known) < len(found):
        raise UsageError(
            f"strategy {strategy!r} cannot tell the queries, keys and values of {type(model).__name__} apart; "
            f"take a base model built as {KNOWN}"
        )
    return known


def norms_of(encoder: nn.Module) -> Iterator[nn.Module]:
    """Yield the normalizations in `encoder`: modules without parts whose weights are all vectors."""
    for module in encoder.modules():
        weights = list(module.parameters())
        if weights and all(weight.dim() == 1 for weight in weights) and not any(module.children()):
            yield module


def _known_layers(encoder: nn.Module) -> Iterator[tuple[nn.Module, _Layout]]:
    for module in encoder.modules():
        layout = next((layout for layout in _LAYOUTS if _fits(module, layout)), None)
        if layout is not None:
            yield module, layout


def _fits(module: nn.Module, layout: _Layout) -> bool:
    projections = [f"{layout.attention}.{name}" for name in layout.projections]
    linear = (*projections, layout.output, *layout.inner, layout.outer)
    others = (*layout.ends, *filter(None, (layout.first_norm, layout.last_norm)))
    return all(isinstance(_part(module, name), nn.Linear) for name in linear) and all(
        _part(module, name) is not None for name in others
    )


def _part(module: nn.Module, name: str) -> nn.Module | None:
    try:
        return module.get_submodule(name)
    except AttributeError:
        return None


def _layer(model: PreTrainedModel, module: nn.Module, layout: _Layout) -> Layer:
    inner: list[Any] = [module.get_submodule(name) for name in layout.inner]
    outer: Any = module.get_submodule(layout.outer)
    gates = sum(linear.out_features for linear in inner) // outer.in_features
    parts = gates // len(inner)  # of each layer: 2 where one layer computes neurons and gate
    output: Any = module.get_submodule(layout.output)
    return Layer(
        module=module,
        attention=_attention(model, module, layout, output) if layout.projections else None,
        attention_output=output,
        feed_forward=FeedForward(
            tuple(Projection(linear, part, parts) for linear in inner for part in range(parts)), outer
        ),
        first_norm=None if layout.first_norm is None else module.get_submodule(layout.first_norm),
        ends=layout.ends,
        last_norm=layout.last_norm,
    )


def _attention(model: PreTrainedModel, layer: nn.Module, layout: _Layout, output: nn.Linear) -> Attention:
    module: Any = layer.get_submodule(layout.attention)
    linear: list[Any] = [module.get_submodule(name) for name in layout.projections]
    parts = 3 // len(linear)
    query, key, value = (Projection(one, part, parts) for one in linear for part in range(parts))
    config = model.config
    layer_type = getattr(layer, "attention_type", None)
    return Attention(
        module=module,
        query=query,
        key=key,
        value=value,
        output=output,
        positions=tuple(getattr(module, name) for name in layout.positions if hasattr(module, name)),
        head_size=module.attention_head_size if hasattr(module, "attention_head_size") else module.head_dim,
        window=config.sliding_window if layer_type == "sliding_attention" else None,
        rotary=getattr(model.base_model, "rotary_emb", None),
        layer_type=layer_type,
    )
