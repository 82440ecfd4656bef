"""Quantize weights to 8-bit integers for ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from kdbench import Bench, Transform, UntrainedParams

if TYPE_CHECKING:
    from torch import nn


class Int8(Transform):
    """Quantize the weights of a fitted model to 8 bits and layer inputs dynamically, and multiply as integers.

    A layer's weight w becomes ``round(w / s)`` with ``s = max|w| / 127`` (Zafrir et al. 2019). A layer's input x, and
    an embedding table, becomes ``round(x / s) + z`` with ``s = (max x - min x) / 255`` and zero point z (Jacob et al.
    2018, arXiv:1712.05877, equation 1); the range of an input is computed in each call, which needs neither
    calibration data nor training.
    """

    class Params(UntrainedParams):
        per_channel: bool = Field(
            True, description="one scale per output of a linear layer instead of one per weight matrix"
        )
        reduce_range: bool = Field(
            False,
            description="7 bits per weight, for processors without VNNI, whose 16-bit sums may overflow with 8",
        )
        embeddings: bool = Field(
            True,
            description="also quantize embedding tables, with one scale each; otherwise they stay float32",
        )

    name = "int8"
    title = "8-bit integers, ONNX Runtime"
    citation = "Zafrir et al. 2019, Q8BERT: Quantized 8Bit BERT, arXiv:1910.06188"
    family = "compression"
    terminal = True
    note = "A graph that ONNX Runtime runs on the CPU; it cannot be trained further."
    params: Params

    def transform(self, model: nn.Module, bench: Bench) -> nn.Module:
        """Return `model` as a quantized graph.

        Raises:
            UsageError: `model` cannot be exported to ONNX.
        """
        from kdbench import OnnxModel, example_inputs

        exported = OnnxModel.of(model, example_inputs(bench.task.train, bench.collate))
        return OnnxModel(self.quantize(exported.graph), exported.config)

    def quantize(self, graph: bytes) -> bytes:
        """Return the serialized ONNX model `graph` with its weights quantized."""
        from kdbench import quantize

        return quantize(
            graph,
            per_channel=self.params.per_channel,
            reduce_range=self.params.reduce_range,
            embeddings=self.params.embeddings,
        )
