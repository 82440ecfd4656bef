"""Prune feed-forward neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench_plugins._recovery import DistilledRecoveryParams, before_pruning, recover
from pydantic import Field

from kdbench import Bench, Range, TaskKind, Transform

if TYPE_CHECKING:
    from torch import nn


class PruneFFN(Transform):
    """Remove the feed-forward neurons with least effect on the loss, equally many per layer (Hou et al. 2020, 2.1)."""

    class Params(DistilledRecoveryParams):
        """How many neurons are pruned, and how importance is estimated."""

        share: float = Field(0.5, ge=0, lt=1, description="share of each layer's neurons to prune")
        examples: int = Field(
            512, ge=1, description="number of training rows that importance is averaged over"
        )

    name = "prune-ffn"
    title = "Feed-forward neurons pruned"
    citation = "Hou et al. 2020, DynaBERT: Dynamic BERT with Adaptive Width and Depth, arXiv:2004.04037"
    family = "compression"
    learning_rates = dict.fromkeys(TaskKind, 5e-5)
    search = {"alpha": Range(0.0, 1.0)}
    params: Params

    def transform(self, model: nn.Module, bench: Bench) -> nn.Module:
        """Return `model` without the least important neurons, after recovery training."""
        from kdbench_plugins._pruning import (
            feed_forwards,
            hf_model,
            mask_importance,
            set_intermediate_size,
            training_batches,
        )

        original = before_pruning(model.to(bench.device), self.params)
        inner = hf_model(model, self.name)
        blocks = feed_forwards(inner, self.name)
        importance = mask_importance(
            inner,
            [(block.outer, block.neurons) for block in blocks],
            training_batches(bench, self.params.examples),
            bench.kind,
        )
        size = blocks[0].neurons
        kept = max(1, size - round(self.params.share * size))
        for block, values in zip(blocks, importance, strict=True):
            block.keep(sorted(values.topk(kept).indices.tolist()))
        set_intermediate_size(inner, kept)
        return recover(model, bench, self.params.recovery, original=original, alpha=self.params.alpha)
