"""Store weights and compute in half precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from kdbench import Bench, Transform, UntrainedParams, UsageError

if TYPE_CHECKING:
    from torch import nn


class _HalfPrecision(Transform):
    """Cast the weights of a fitted model to a 16-bit type, and compute in it."""

    family = "compression"
    terminal = True  # training or quantizing afterwards would start from rounded weights
    dtype: ClassVar[str]
    Params = UntrainedParams

    def transform(self, model: nn.Module, bench: Bench) -> nn.Module:
        """Return `model` with all floating-point weights cast.

        Raises:
            UsageError: the model has no floating-point weights, as a quantized graph.
        """
        import torch

        weights = [
            weight for weight in model.state_dict(keep_vars=True).values() if weight.is_floating_point()
        ]
        if not weights:
            raise UsageError(
                f"strategy {self.name!r}: {type(model).__name__} has no floating-point weights to store in half "
                "precision; put it after a stage that returns a torch model"
            )
        # Non-persistent buffers (rotary frequencies) keep their type, as they do when a fresh process builds them.
        for weight in weights:
            weight.data = weight.data.to(getattr(torch, self.dtype))
        return model


class FP16(_HalfPrecision):
    """Cast weights to float16: 5 exponent bits, 10 fraction bits."""

    name = "fp16"
    title = "Half precision, float16"
    citation = "Micikevicius et al. 2018, Mixed Precision Training, arXiv:1710.03740"
    dtype = "float16"


class BF16(_HalfPrecision):
    """Cast weights to bfloat16: the range of float32, 7 fraction bits."""

    name = "bf16"
    title = "Half precision, bfloat16"
    citation = "Kalamkar et al. 2019, A Study of BFLOAT16 for Deep Learning Training, arXiv:1905.12322"
    dtype = "bfloat16"
