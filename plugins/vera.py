"""Adapt by scaling random projections that all layers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench_plugins._parameter_efficient import LongWarmUp, PeftStrategy, linear_layers
from pydantic import Field

from kdbench import Bench, TaskKind

if TYPE_CHECKING:
    from peft import VeraConfig
    from transformers import PreTrainedModel


class VeRA(PeftStrategy):
    """Train vectors b and d of updates ``diag(b) B diag(d) A``, where A and B are random, frozen and shared by all layers.

    Kopiczko et al. 2024, section 3.1.
    """

    class Params(LongWarmUp):
        r: int = Field(256, ge=1, description="rank of the shared projections")
        initial: float = Field(0.1, gt=0, description="initial value of d; b starts as zero")
        vera_dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the input of the updates")
        target: tuple[str, ...] = Field(
            ("query", "value"), min_length=1, description="linear layers to update, by name suffix"
        )

    name = "vera"
    title = "VeRA, merged"
    citation = "Kopiczko et al. 2024, VeRA: Vector-based Random Matrix Adaptation, arXiv:2310.11454"
    learning_rates = dict.fromkeys(TaskKind, 1e-2)
    on_request = True
    params: Params

    def config(self, base: PreTrainedModel, bench: Bench) -> VeraConfig:
        """Return updates that start as zero: b is zero."""
        from peft import VeraConfig

        return VeraConfig(
            r=self.params.r,
            d_initial=self.params.initial,
            vera_dropout=self.params.vera_dropout,
            projection_prng_key=bench.axis_seed("init"),
            target_modules=linear_layers(base, self.params.target, strategy=self.name, parameter="target"),
        )
