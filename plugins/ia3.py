"""Learned rescaling of keys, values and feed-forward activations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench_plugins._parameter_efficient import PeftStrategy, linear_layers
from pydantic import Field

from kdbench import Bench, TaskKind
from kdbench import Params as BaseParams

if TYPE_CHECKING:
    from peft import IA3Config
    from transformers import PreTrainedModel


class IA3(PeftStrategy):
    """Train a factor for each key, value and inner feed-forward activation, and the head (Liu et al. 2022, section 3.3)."""

    class Params(BaseParams):
        """What is rescaled."""

        weight_decay: float = Field(
            0.0, ge=0, description="AdamW's decoupled weight decay; it would draw the factors to 0, not to 1"
        )
        target: tuple[str, ...] = Field(
            ("key", "value"),
            min_length=1,
            description="linear layers whose output is rescaled, by the end of their name",
        )
        feedforward: tuple[str, ...] = Field(
            ("output.dense",),
            description="linear layers whose input is rescaled, by the end of their name; "
            "those inside of an attention block are left out",
        )

    name = "ia3"
    title = "(IA)³, merged"
    citation = (
        "Liu et al. 2022, Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context "
        "Learning, arXiv:2205.05638"
    )
    learning_rates = dict.fromkeys(TaskKind, 1e-2)
    params: Params

    def config(self, base: PreTrainedModel, bench: Bench) -> IA3Config:
        """Return factors that change nothing yet: all are 1."""
        from peft import IA3Config

        outputs = linear_layers(base, self.params.target, strategy=self.name, parameter="target")
        named = linear_layers(base, self.params.feedforward, strategy=self.name, parameter="feedforward")
        # BERT calls the attention's output layer output.dense, too.
        inputs = [layer for layer in named if "attention" not in layer]
        return IA3Config(target_modules=outputs + inputs, feedforward_modules=inputs)
