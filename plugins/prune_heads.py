"""Prune attention heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kdbench_plugins._recovery import DistilledRecoveryParams, before_pruning, recover
from pydantic import Field

from kdbench import Bench, Range, TaskKind, Transform

if TYPE_CHECKING:
    from torch import Tensor, nn


class PruneHeads(Transform):
    """Remove the attention heads that the loss depends on least (Michel et al. 2019, section 4)."""

    class Params(DistilledRecoveryParams):
        """How many heads are pruned, and how importance is estimated."""

        share: float = Field(
            0.4, ge=0, lt=1, description="share of all heads to prune; each layer keeps at least one"
        )
        examples: int = Field(
            512, ge=1, description="number of training rows that importance is averaged over"
        )

    name = "prune-heads"
    title = "Attention heads pruned"
    citation = "Michel et al. 2019, Are Sixteen Heads Really Better than One?, arXiv:1905.10650"
    family = "compression"
    learning_rates = dict.fromkeys(TaskKind, 5e-5)
    search = {"alpha": Range(0.0, 1.0)}
    note = (
        "Layers differ in their number of heads: load it with kdbench, not with transformers' Auto classes."
    )
    params: Params

    def transform(self, model: nn.Module, bench: Bench) -> nn.Module:
        """Return `model` without the least important heads, after recovery training."""
        from kdbench_plugins._pruning import (
            PrunedModel,
            attention_blocks,
            hf_model,
            mask_importance,
            training_batches,
        )

        original = before_pruning(model.to(bench.device), self.params)
        inner = hf_model(model, self.name)
        blocks = attention_blocks(inner, self.name)
        importance = mask_importance(
            inner,
            [(block.output, block.heads) for block in blocks],
            training_batches(bench, self.params.examples),
            bench.kind,
        )
        for block, heads in zip(blocks, kept_heads(importance, self.params.share), strict=True):
            block.keep(heads)
        pruned = model if isinstance(model, PrunedModel) else PrunedModel.around(inner)
        return recover(pruned, bench, self.params.recovery, original=original, alpha=self.params.alpha)


def kept_heads(importance: Sequence[Tensor], share: float) -> list[list[int]]:
    """Return the heads that remain per layer when the least important `share` of all is pruned, at least one per layer.

    Args:
        importance: per layer ``(heads,)``; compared across layers after division by the layer's l2 norm, as in
            the paper's code (section 4.1 takes this from Molchanov et al. 2017).
    """
    kept = [list(range(len(layer))) for layer in importance]
    ranked = sorted(
        (value, layer, head)
        for layer, values in enumerate(importance)
        for head, value in enumerate((values / values.norm().clamp(min=1e-20)).tolist())
    )
    excess = round(share * len(ranked))
    for _, layer, head in ranked:
        if excess and len(kept[layer]) > 1:
            kept[layer].remove(head)
            excess -= 1
    return kept
