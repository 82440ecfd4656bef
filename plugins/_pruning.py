"""Find attention heads and feed-forward neurons in a model, score their importance, and prune them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdbench import (
    IGNORED,
    Batch,
    Bench,
    FolderModel,
    TaskKind,
    UsageError,
    architecture_of,
    build_architecture,
    model_inputs,
    structure,
)


@dataclass(frozen=True)
class AttentionBlock:
    """Prune the self-attention heads of one layer."""

    parts: structure.Attention

    @property
    def output(self) -> nn.Linear:
        """The output projection, ``(hidden, heads * head size)``."""
        return self.parts.output

    @property
    def heads(self) -> int:
        """The number of heads."""
        return self.parts.heads

    def keep(self, heads: Sequence[int]) -> None:
        """Remove all heads except `heads`."""
        size = self.parts.head_size
        units = [head * size + unit for head in heads for unit in range(size)]
        _keep_units((self.parts.query, self.parts.key, self.parts.value), units)
        for linear in self.parts.positions:
            _keep_rows(linear, units)
        _keep_columns(self.output, units)
        # Most forward passes use the head size alone; these attributes are for the others and for readers of the module.
        for name, value in {
            "num_attention_heads": len(heads),
            "n_heads": len(heads),
            "all_head_size": len(units),
        }.items():
            if hasattr(self.parts.module, name):
                setattr(self.parts.module, name, value)


@dataclass(frozen=True)
class FeedForward:
    """Prune the feed-forward neurons of one layer."""

    parts: structure.FeedForward

    @property
    def outer(self) -> nn.Linear:
        """The projection from the neurons, ``(hidden, neurons)``."""
        return self.parts.outer

    @property
    def neurons(self) -> int:
        """The number of neurons."""
        return self.outer.in_features

    def keep(self, neurons: Sequence[int]) -> None:
        """Remove all neurons except `neurons`, with their gates."""
        _keep_units(self.parts.inner, neurons)
        _keep_columns(self.outer, neurons)


def attention_blocks(model: PreTrainedModel, strategy: str) -> list[AttentionBlock]:
    """Return the self-attention of each layer, first to last, or of the one that all share.

    Raises:
        UsageError: `strategy` cannot prune the attention of this architecture.
    """
    attentions = structure.attentions_of(model, strategy)
    name = type(model).__name__
    if any(attention.key_heads != attention.heads for attention in attentions):
        raise UsageError(
            f"strategy {strategy!r}: in {name} several heads share the keys of one, and cannot be pruned alone; take prune-ffn"
        )
    tables = [module for module in model.modules() if hasattr(module, "relative_attention_bias")]
    if tables:
        raise UsageError(
            f"strategy {strategy!r}: the layers of {name} share a table of relative positions with a column per head, and so "
            "must have equally many heads; take prune-ffn"
        )
    return [AttentionBlock(attention) for attention in attentions]


def feed_forwards(model: PreTrainedModel, strategy: str) -> list[FeedForward]:
    """Return the feed-forward network of each layer, first to last, or of the one that all share.

    Raises:
        UsageError: `strategy` cannot prune the feed-forward networks of this architecture.
    """
    return [FeedForward(layer.feed_forward) for layer in structure.structure_of(model, strategy).layers]


def set_intermediate_size(model: PreTrainedModel, neurons: int) -> None:
    """Set the number of neurons per feed-forward network in the configuration of `model`."""
    for name in ("intermediate_size", "hidden_dim"):  # its names in configurations
        if hasattr(model.config, name):
            setattr(model.config, name, neurons)


def _keep_units(projections: Iterable[structure.Projection], units: Sequence[int]) -> None:
    """Keep the rows of `units` of each projection; several may be parts of one layer."""
    rows: dict[nn.Linear, list[int]] = {}
    for projection in projections:
        rows.setdefault(projection.linear, []).extend(projection.rows.start + unit for unit in units)
    for linear, kept in rows.items():
        _keep_rows(linear, kept)


def _keep_rows(linear: nn.Linear, rows: Sequence[int]) -> None:
    linear.weight = _select(linear.weight, 0, rows)
    if linear.bias is not None:
        linear.bias = _select(linear.bias, 0, rows)
    linear.out_features = len(rows)


def _keep_columns(linear: nn.Linear, columns: Sequence[int]) -> None:
    linear.weight = _select(linear.weight, 1, columns)
    linear.in_features = len(columns)


def _select(weight: Tensor, dim: int, kept: Sequence[int]) -> nn.Parameter:
    index = torch.tensor(kept, dtype=torch.long, device=weight.device)
    return nn.Parameter(weight.detach().index_select(dim, index), requires_grad=weight.requires_grad)


_BATCH_SIZE = 32


def training_batches(bench: Bench, examples: int) -> Iterator[Batch]:
    """Yield at most `examples` training rows, sampled by the seed, in batches of similar lengths."""
    rows = bench.task.train
    draw = np.random.default_rng(bench.axis_seed("strategy"))
    chosen = draw.permutation(len(rows))[:examples]
    chosen = chosen[np.argsort(np.asarray(rows["length"])[chosen], kind="stable")]
    for start in range(0, len(chosen), _BATCH_SIZE):
        batch = bench.collate([rows[int(i)] for i in chosen[start : start + _BATCH_SIZE]])
        yield {name: value.to(bench.device) for name, value in batch.items()}


def mask_importance(
    model: nn.Module, layers: Sequence[tuple[nn.Linear, int]], batches: Iterable[Batch], kind: TaskKind
) -> list[Tensor]:
    """Return per layer the importance of its groups ``(groups,)``: the mean over examples of ``|xi dL/dxi|`` at ``xi = 1``.

    The mask xi multiplies a group of a layer's inputs: a head's outputs before the output projection (Michel et al.
    2019, arXiv:1905.10650, equation 2), or one neuron's activation, where it is ``|sum of activation x gradient|``
    (Molchanov et al. 2017, arXiv:1611.06440, equation 8, up to the number of positions). L is the loss of one
    example, in token classification the sum over its words.

    Args:
        model: the model, on the device of `batches`.
        layers: linear layers of `model`, each with the number of equal groups that its inputs are split into.
    """
    masks: list[Tensor] = []
    totals = [torch.zeros(groups, device=linear.weight.device) for linear, groups in layers]
    examples = 0
    model.eval()
    hooks = [linear.register_forward_pre_hook(_mask_hook(masks, i)) for i, (linear, _) in enumerate(layers)]
    try:
        for batch in batches:
            labels = batch["labels"]
            masks[:] = [
                linear.weight.new_ones(len(labels), groups).requires_grad_() for linear, groups in layers
            ]
            mean = kind.label_loss(model(**model_inputs(batch)).logits, labels)
            # Examples are independent: the gradient of the summed loss holds the gradient of each.
            gradients = torch.autograd.grad(
                mean * ((labels != IGNORED).sum() if kind.per_word else len(labels)), masks
            )
            for total, gradient in zip(totals, gradients, strict=True):
                total += gradient.abs().sum(dim=0)
            examples += len(labels)
    finally:
        for hook in hooks:
            hook.remove()
    return [total.cpu() / examples for total in totals]


def _mask_hook(masks: list[Tensor], index: int) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Tensor]]:
    def masked(linear: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
        mask = masks[index]
        grouped = inputs[0].unflatten(-1, (mask.shape[1], -1))  # (batch, sequence, groups, units)
        return ((grouped * mask[:, None, :, None]).flatten(-2),)

    return masked


class PrunedModel(FolderModel):
    """Wrap a transformers model with a different number of heads per layer, which its configuration cannot express.

    Args:
        architecture: class and configuration of the wrapped model, as if no head were pruned.
        heads: the number of attention heads per layer.
    """

    def __init__(self, architecture: dict[str, Any], heads: list[int]) -> None:
        super().__init__({"architecture": architecture, "heads": heads})
        self.inner = build_architecture(architecture)
        for block, count in zip(attention_blocks(self.inner, "prune-heads"), heads, strict=True):
            block.keep(range(count))

    @classmethod
    def around(cls, inner: PreTrainedModel) -> PrunedModel:
        """Return `inner`, whose heads were pruned, as a model that can be saved."""
        model = cls(**_settings(inner))
        model.inner = inner
        return model

    def forward(self, **inputs: Any) -> Any:
        return self.inner(**inputs)

    def get_input_embeddings(self) -> nn.Module:
        return self.inner.get_input_embeddings()

    def set_input_embeddings(self, table: nn.Module) -> None:
        self.inner.set_input_embeddings(table)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write settings and weights into `folder`; the settings are those of the model as it is now."""
        self.settings = _settings(self.inner)
        super().save_pretrained(folder)


def _settings(inner: PreTrainedModel) -> dict[str, Any]:
    return {
        "architecture": architecture_of(inner),
        "heads": [block.heads for block in attention_blocks(inner, "prune-heads")],
    }


def hf_model(model: nn.Module, strategy: str) -> PreTrainedModel:
    """Return the transformers model that `strategy` may prune in place: `model` itself, or the wrapped one.

    Raises:
        UsageError: `model` is not a transformers model.
    """
    inner = model.inner if isinstance(model, PrunedModel) else model
    if not isinstance(inner, PreTrainedModel):
        raise UsageError(
            f"strategy {strategy!r} cannot change a {type(model).__name__}; "
            "put it after a strategy that returns a plain transformers model, such as finetune or hard-labels"
        )
    return inner
