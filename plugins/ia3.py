"""Adapt by learned rescaling of keys, values and feed-forward activations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench_plugins._parameter_efficient import PeftStrategy, attention_outputs, linear_layers
from pydantic import Field

from kdbench import Bench, TaskKind
from kdbench import Params as BaseParams

if TYPE_CHECKING:
    from peft import IA3Config
    from transformers import PreTrainedModel


class IA3(PeftStrategy):
    """Train a factor for each key, value and inner feed-forward activation, and the head (Liu et al. 2022, section 3.3)."""

    class Params(BaseParams):
        weight_decay: float = Field(
            0.0, ge=0, description="AdamW's decoupled weight decay; it pulls the factors towards 0, not 1"
        )
        target: tuple[str, ...] = Field(
            ("key", "value"),
            min_length=1,
            description="linear layers whose output is rescaled, by name suffix",
        )
        feedforward: tuple[str, ...] = Field(
            ("output.dense",),
            description="linear layers whose input is rescaled, by name suffix; those in attention are excluded",
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
        """Return rescaling factors that start at 1, which changes nothing."""
        from peft import IA3Config

        outputs = linear_layers(base, self.params.target, strategy=self.name, parameter="target")
        suffixed = linear_layers(base, self.params.feedforward, strategy=self.name, parameter="feedforward")
        # In BERT the attention's output projection is also called output.dense.
        inputs = [layer for layer in suffixed if layer not in attention_outputs(base)]
        return IA3Config(target_modules=outputs + inputs, feedforward_modules=inputs)
