"""Read the queries, keys and values of a model while it runs, or compute a teacher's from its hidden states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from kdbench import UsageError, structure


@dataclass
class AttentionVectors:
    """Hold the vectors of one self-attention layer in the latest forward pass; unset before the first.

    Each is ``(batch, sequence, width)``, heads concatenated, not scaled.
    """

    query: Tensor = field(init=False)
    key: Tensor = field(init=False)
    value: Tensor = field(init=False)


@contextmanager
def read_attention(
    model: PreTrainedModel, layers: Iterable[int], strategy: str, *, rotated: bool = False
) -> Iterator[dict[int, AttentionVectors]]:
    """Record queries, keys and values of `layers` by forward hooks: yield a mapping that every pass of `model` updates.

    They are the outputs of the linear layers, so that any attention kernel works: scores before the softmax do not
    need the eager implementation. When the context ends, the hooks are removed and the mapping is emptied.

    Args:
        model: a model of transformers; the recorded vectors carry gradients.
        layers: numbers of transformer layers, counted from 1.
        strategy: who reads them, for an error.
        rotated: turn queries and keys by their positions, where the model does so before it compares them.

    Raises:
        UsageError: it is not known where this architecture keeps its queries, keys and values.
    """
    vectors = {layer: AttentionVectors() for layer in layers}
    attentions = structure.attentions_of(model, strategy)
    depth = model.config.num_hidden_layers
    with ExitStack() as hooks:
        for number, attention in enumerate(attentions, start=1):
            passed = range(1, depth + 1) if len(attentions) < depth else [number]
            reads = [vectors.get(layer) for layer in passed]
            if any(reads):
                for handle in _Recorder(attention, reads, rotated).hooks():
                    hooks.callback(handle.remove)
        try:
            yield vectors
        finally:
            vectors.clear()


class _Recorder:
    """Records what one module of attention computes, each time that a forward pass goes through it.

    Args:
        attention: the module's parts.
        reads: where each of the layers that the module serves, in their order, is recorded; None for those that are not.
        rotated: see `read_attention`.
    """

    def __init__(
        self, attention: structure.Attention, reads: Sequence[AttentionVectors | None], rotated: bool
    ) -> None:
        self._attention = attention
        self._next = cycle(reads)
        self._rotated = rotated
        self._read: AttentionVectors | None = None
        self._missing: set[str] = set()

    def hooks(self) -> Iterator[RemovableHandle]:
        """Register the hooks, and yield the handles that remove them."""
        yield self._attention.module.register_forward_pre_hook(self._enter)
        for vector in fields(AttentionVectors):
            projection = getattr(self._attention, vector.name)
            yield projection.linear.register_forward_hook(self._recorder(vector.name, projection.rows))

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        self._read = next(self._next)
        self._missing = {vector.name for vector in fields(AttentionVectors)}

    def _recorder(self, name: str, rows: slice) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            # DeBERTa projects the vectors of relative positions by the same layers, after those of the text.
            if self._read is not None and name in self._missing:
                self._missing.remove(name)
                setattr(self._read, name, _turned(self._attention, name, output[..., rows], self._rotated))

        return hook


def _turned(attention: structure.Attention, name: str, vectors: Tensor, rotated: bool) -> Tensor:
    """Return `vectors`, if they are queries or keys that are compared after they are `rotated` in that form."""
    return attention.rotated(vectors) if rotated and name != "value" else vectors


class TeacherAttention:
    """Computes the attention vectors of a frozen model's `layers` from its hidden states, which may be stored ones.

    Args:
        model: a frozen model of transformers, in evaluation mode.
        layers: numbers of transformer layers, counted from 1.
        strategy: who reads them, for an error.
        rotated: turn queries and keys by their positions, where the model does so before it compares them.

    Raises:
        UsageError: it is not known where this architecture keeps its queries, keys and values, or the attention does not
            read the hidden states as they are, or as its layer's first normalization makes them.
    """

    def __init__(
        self, model: PreTrainedModel, layers: Iterable[int], strategy: str, *, rotated: bool = False
    ) -> None:
        whole = structure.structure_of(model, strategy)
        attentions = structure.attentions_of(model, strategy)
        _check_inputs(model, whole, attentions, strategy)
        self._norms = {layer: whole.layer(layer).first_norm for layer in layers}
        self._attentions = {layer: attentions[0 if whole.shared else layer - 1] for layer in self._norms}
        self._rotated = rotated

    @torch.no_grad()
    def __call__(
        self,
        layer: int,
        hidden_states: Sequence[Tensor],
        names: Sequence[str] = ("query", "key", "value"),
        *,
        dtype: torch.dtype,
    ) -> AttentionVectors:
        """Return the vectors `names` of `layer`, computed in `dtype`.

        Args:
            hidden_states: the embeddings and the output of every layer, each ``(batch, sequence, hidden)``.
        """
        vectors = AttentionVectors()
        states, norm = hidden_states[layer - 1], self._norms[layer]
        states = (states if norm is None else norm(states.float())).to(dtype)
        for name in names:
            projection = getattr(self._attentions[layer], name)
            weight, bias = projection.linear.weight[projection.rows], projection.linear.bias
            read = functional.linear(
                states, weight.to(dtype), None if bias is None else bias[projection.rows].to(dtype)
            )
            setattr(vectors, name, _turned(self._attentions[layer], name, read, self._rotated))
        return vectors


def _check_inputs(
    model: nn.Module,
    whole: structure.Structure,
    attentions: Sequence[structure.Attention],
    strategy: str,
) -> None:
    """Check on a short text that each layer's attention reads the hidden states before it, through its first norm."""
    read: list[Tensor] = []

    def note(module: nn.Module, inputs: Sequence[Tensor], named: Mapping[str, Tensor]) -> None:
        read.append(inputs[0] if inputs else named["hidden_states"])

    tokens = torch.arange(3, device=next(model.parameters()).device)[None]
    with ExitStack() as hooks, torch.no_grad():
        for attention in attentions:
            handle = attention.module.register_forward_pre_hook(note, with_kwargs=True)
            hooks.callback(handle.remove)
        states = model(input_ids=tokens, output_hidden_states=True).hidden_states
        norms = [whole.layer(number).first_norm for number in range(1, whole.depth + 1)]
        expected = [
            state if norm is None else norm(state) for state, norm in zip(states[:-1], norms, strict=True)
        ]
    if len(read) != len(expected) or not all(map(torch.equal, read, expected)):
        raise UsageError(
            f"strategy {strategy!r}: the attention of {type(model).__name__} does not read its layers' inputs, as they are "
            f"or normalized; to match attention take a base model built as {structure.KNOWN}"
        )


def attention_windows(
    student: PreTrainedModel, teacher: PreTrainedModel, pairs: Iterable[tuple[int, int]], strategy: str
) -> dict[int, int | None]:
    """Return per student layer how far apart two word pieces may be that both models compare there; None for any distance.

    Args:
        student: the student.
        teacher: the teacher.
        pairs: matched layers of the two, counted from 1.
        strategy: who matches them, for an error.
    """
    mine, theirs = (structure.attentions_of(model, strategy) for model in (student, teacher))
    windows = {}
    for own, target in pairs:
        both = (
            attentions[0 if len(attentions) == 1 else number - 1].window
            for attentions, number in ((mine, own), (theirs, target))
        )
        windows[own] = min((window for window in both if window is not None), default=None)
    return windows
