"""Low-rank adaptation of directions, with magnitudes of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench_plugins.lora import LoRA

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel

    from kdbench.training.bench import Bench


class DoRA(LoRA):
    """Train W's magnitude m and direction apart: ``m (W + (alpha / r) B A) / |W + (alpha / r) B A|``.

    The norm is taken for each output (Liu et al. 2024, equation 5); m starts as that of W.
    """

    name = "dora"
    title = "DoRA, merged"
    reference = "Liu et al. 2024, DoRA: Weight-Decomposed Low-Rank Adaptation, arXiv:2402.09353"

    def config(self, base: PreTrainedModel, bench: Bench) -> LoraConfig:
        """Return LoRA's updates, decomposed; they change nothing yet."""
        config = super().config(base, bench)
        config.use_dora = True
        return config
