"""Adapt by low-rank updates of frozen weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench_plugins._parameter_efficient import LongWarmUp, PeftStrategy, linear_layers
from pydantic import Field

from kdbench import Bench, TaskKind

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel


class LoRA(PeftStrategy):
    """Train low-rank updates ``W + (alpha / r) B A`` of frozen weights W, and the head (Hu et al. 2022, section 4.1)."""

    class Params(LongWarmUp):
        r: int = Field(8, ge=1, description="rank of the updates")
        alpha: float = Field(16, gt=0, description="updates are scaled by alpha / r")
        lora_dropout: float = Field(0.1, ge=0, lt=1, description="dropout on the input of the updates")
        target: tuple[str, ...] = Field(
            ("query", "value"),
            min_length=1,
            description="linear layers to update, by name suffix",
        )

    name = "lora"
    title = "LoRA, merged"
    citation = "Hu et al. 2022, LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685"
    learning_rates = dict.fromkeys(TaskKind, 2e-3)
    params: Params

    def config(self, base: PreTrainedModel, bench: Bench) -> LoraConfig:
        """Return updates that start as zero: B is zero."""
        from peft import LoraConfig

        return LoraConfig(
            r=self.params.r,
            lora_alpha=self.params.alpha,
            lora_dropout=self.params.lora_dropout,
            target_modules=linear_layers(base, self.params.target, strategy=self.name, parameter="target"),
        )


class DoRA(LoRA):
    """Train the magnitude m and the direction of W separately: ``m (W + (alpha / r) B A) / |W + (alpha / r) B A|``.

    The norm is per output (Liu et al. 2024, equation 5); m is initialized to the norm of W.
    """

    name = "dora"
    title = "DoRA, merged"
    citation = "Liu et al. 2024, DoRA: Weight-Decomposed Low-Rank Adaptation, arXiv:2402.09353"

    def config(self, base: PreTrainedModel, bench: Bench) -> LoraConfig:
        """Return LoRA's configuration with weight decomposition; the weights start unchanged."""
        config = super().config(base, bench)
        config.use_dora = True
        return config
