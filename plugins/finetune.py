"""Full fine-tuning: the teacher's own row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench import Strategy

if TYPE_CHECKING:
    from torch import nn

    from kdbench.training.bench import Bench


class FineTune(Strategy):
    """Train every weight of the base model on the labels."""

    name = "finetune"
    title = "Full fine-tuning (the teacher)"
    reference = "Devlin et al. 2019, BERT: Pre-training of Deep Bidirectional Transformers, arXiv:1810.04805"
    family = "fine-tuning"
    is_reference = True
    uses_teacher = True

    def fit(self, bench: Bench) -> nn.Module:
        """Return the fine-tuned base model."""
        return bench.finetuned()
