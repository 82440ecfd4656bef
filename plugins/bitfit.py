"""Train the biases alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench_plugins._parameter_efficient import ParameterEfficient, freeze_encoder

from kdbench import Bench, TaskKind, UsageError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


class BitFit(ParameterEfficient):
    """Train the encoder's biases, including those of normalizations, and the head (Ben Zaken et al. 2022, section 3).

    The paper's sets of weights are biases and nothing else. A model without any is therefore refused: training the factors
    of its normalizations instead would be another method (Qi et al. 2022, LN-tuning, arXiv:2211.08682).
    """

    name = "bitfit"
    title = "BitFit (biases alone)"
    citation = (
        "Ben Zaken et al. 2022, BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked "
        "Language-models, arXiv:2106.10199"
    )
    learning_rates = dict.fromkeys(TaskKind, 3e-3)

    def fit(self, bench: Bench) -> nn.Module:
        """Return the base model with trained biases and head."""
        return bench.train(self.freeze(bench.base()))

    def freeze(self, base: PreTrainedModel) -> PreTrainedModel:
        """Return `base` with its encoder frozen except for the biases.

        Raises:
            UsageError: the encoder has no biases.
        """
        biases = [
            (name, weight)
            for name, weight in base.base_model.named_parameters()
            if name.endswith("bias")  # the first DeBERTa has a q_bias and a v_bias
        ]
        if not biases:
            raise UsageError(
                f"strategy 'bitfit': the encoder of {type(base).__name__} has no biases to train; "
                "take lora, ia3 or adapter-pfeiffer, or a base model with biases, such as BERT or RoBERTa"
            )
        freeze_encoder(base)
        for _, bias in biases:
            bias.requires_grad_(True)
        return base
