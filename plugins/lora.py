"""Adapt by low-rank updates of frozen weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from kdbench_plugins._parameter_efficient import LongWarmUp, PeftStrategy, encoder_layers, linear_layers
from pydantic import Field

from kdbench import Bench, TaskKind

if TYPE_CHECKING:
    from peft import LoraConfig
    from torch import nn
    from transformers import PreTrainedModel


class LoRA(PeftStrategy):
    """Train low-rank updates ``W + (alpha / r) B A`` of frozen weights W, and the head (Hu et al. 2022, section 4.1)."""

    class Params(LongWarmUp):
        r: int = Field(8, ge=1, description="rank of the updates")
        alpha: float = Field(16, gt=0, description="updates are scaled by alpha / r")
        lora_dropout: float = Field(0.1, ge=0, lt=1, description="dropout on the input of the updates")
        target: Annotated[tuple[str, ...], Field(min_length=1)] | Literal["all-linear"] = Field(
            ("query", "value"),
            description="linear layers to update, by name suffix, or all-linear for all of the encoder's",
        )

    name = "lora"
    title = "LoRA, merged"
    citation = "Hu et al. 2022, LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685"
    learning_rates = dict.fromkeys(TaskKind, 2e-3)
    params: Params

    def config(self, base: PreTrainedModel, bench: Bench) -> LoraConfig:
        """Return updates that start as zero: B is zero."""
        from peft import LoraConfig

        target = self.params.target
        return LoraConfig(
            r=self.params.r,
            lora_alpha=self.params.alpha,
            lora_dropout=self.params.lora_dropout,
            target_modules=encoder_layers(base)
            if target == "all-linear"
            else linear_layers(base, target, strategy=self.name, parameter="target"),
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


class RsLoRA(LoRA):
    """Scale the updates by ``alpha / sqrt(r)``, so that their size does not fall with the rank (Kalajdzievski 2023).

    At a single rank it is LoRA with another alpha, so that it runs only where it is named, with ranks to compare.
    """

    name = "rslora"
    title = "Rank-stabilized LoRA, merged"
    citation = (
        "Kalajdzievski 2023, A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA, arXiv:2312.03732"
    )
    on_request = True

    def config(self, base: PreTrainedModel, bench: Bench) -> LoraConfig:
        """Return LoRA's configuration with the other scale."""
        config = super().config(base, bench)
        config.use_rslora = True
        return config


class PiSSA(LoRA):
    """Train the principal part of W: A and B start as its first singular vectors, and the rest of W is frozen.

    Meng et al. 2024, section 3. The model starts unchanged, as with LoRA, but along the directions that matter most.
    """

    class Params(LoRA.Params):
        alpha: float = Field(8, gt=0, description="updates are scaled by alpha / r; the paper's ratio is 1")
        lora_dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the input of the updates")

    name = "pissa"
    title = "PiSSA, merged"
    citation = (
        "Meng et al. 2024, PiSSA: Principal Singular Values and Singular Vectors Adaptation of Large Language Models, "
        "arXiv:2404.02948"
    )
    freezes_base = False  # what is frozen is the rest of W
    on_request = True

    def config(self, base: PreTrainedModel, bench: Bench) -> LoraConfig:
        """Return LoRA's configuration with updates that start as the principal part of the weights."""
        config = super().config(base, bench)
        config.init_lora_weights = "pissa"
        return config


class LoRAPlus(LoRA):
    """Train B faster than A (Hayou et al. 2024, section 4): with one rate for both, features of wide models hardly move."""

    class Params(LoRA.Params):
        rate_ratio: float = Field(
            16, gt=0, description="learning rate of B as a multiple of learning_rate, A's and the head's"
        )

    name = "lora-plus"
    title = "LoRA+, merged"
    citation = "Hayou et al. 2024, LoRA+: Efficient Low Rank Adaptation of Large Models, arXiv:2402.12354"
    learning_rates = dict.fromkeys(TaskKind, 1e-3)
    on_request = True
    params: Params

    def fit(self, bench: Bench) -> nn.Module:
        """Return the frozen base model with its trained updates and head."""
        ratio = self.params.rate_ratio
        return bench.train(
            self.adapt(bench.base(), bench), rate_of=lambda weight: ratio if ".lora_B." in weight else 1.0
        )


class LoRAUnmerged(LoRA):
    """Train as LoRA, and deploy the updates beside the weights instead of merged into them."""

    name = "lora-unmerged"
    title = "LoRA, not merged"
    note = "The updates are computed beside the base model's weights, so that one base serves many tasks."
    on_request = True

    def finalize(self, model: nn.Module, bench: Bench) -> nn.Module:
        """Return the base model with the updates beside its weights."""
        from kdbench_plugins._unmerged_model import UnmergedModel

        return UnmergedModel.of(model)
