"""Models as ONNX graphs, run by ONNX Runtime on the CPU."""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxscript import optimizer
from torch import Tensor, nn

from kdbench.api.bench import Batch, Collate, model_inputs
from kdbench.errors import KdbenchError, UsageError, one_line

_GRAPH = "model.onnx"
_CONFIG = "config.json"
_LARGEST_BYTES = 2**31 - 1
"""What one protobuf message, and so a graph with its weights inside, can hold."""
_LARGEST_DRIFT = 1e-4
"""Of a graph's logits from its model's, as a share of the largest logit where that is above 1."""
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
_QUANTIZED = "_quantized"
"""What ONNX Runtime's quantizer ends the name of a quantized weight with …"""
_SCALING = ("_scale", "_zero_point")
"""… and those of its scales and zero points, which are no weights of their own."""


class OnnxModel(nn.Module):
    """A graph that ONNX Runtime runs on the CPU, with as many threads as torch has when it is made.

    Args:
        graph: an ONNX model with its weights inside; its inputs are int64 ``(batch, sequence)``, its one output the
            logits.
        config: what tells a user of the artifact of the model; plain JSON.
    """

    def __init__(self, graph: bytes, config: dict[str, Any]) -> None:
        super().__init__()
        self.graph = graph
        self.config = config
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        # A thread that spins between calls takes the core from the model that is called next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._inputs = [put.name for put in self._session.get_inputs()]

    @classmethod
    def of(cls, model: nn.Module, example: Mapping[str, Tensor]) -> OnnxModel:
        """Return `model` as a float32 graph for any batch and sequence length.

        Small weights (up to 1,024 values) that are alike value for value are stored once.

        Args:
            model: answers ``.logits``; it is put on the CPU, in float32 and in evaluation mode.
            example: the inputs that it takes, each int64 ``(batch, sequence)``, to hold the graph against it; see
                `example_inputs`.

        Raises:
            UsageError: torch cannot export `model`, or it is larger than a file can be.
            KdbenchError: the graph does not answer as `model` does.
        """
        _check_size(model)
        model = model.cpu().float().eval()
        example = {name: value.cpu() for name, value in example.items()}
        exported = cls(_export(model, list(example)), config_of(model))
        with torch.no_grad():
            expected = model(**example).logits
        drift = float((exported(**example).logits - expected).abs().max())
        if not drift <= _LARGEST_DRIFT * max(1.0, float(expected.abs().max())):
            raise KdbenchError(
                f"the ONNX graph of {type(model).__name__} is not the model: their logits differ by {drift:.1e}"
            )
        return exported

    def forward(self, **inputs: Tensor) -> SimpleNamespace:
        """Return the float32 ``logits``, on the device of the inputs, each int64 ``(batch, sequence)``."""
        device = inputs["input_ids"].device
        (logits,) = self._session.run(None, {name: inputs[name].cpu().numpy() for name in self._inputs})
        return SimpleNamespace(logits=torch.from_numpy(logits).to(device))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the graph and the configuration into `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _GRAPH).write_bytes(self.graph)
        (folder / _CONFIG).write_text(json.dumps(self.config, indent=1, sort_keys=True) + "\n")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> OnnxModel:
        """Return the model that `save_pretrained` wrote."""
        return cls((Path(folder) / _GRAPH).read_bytes(), json.loads((Path(folder) / _CONFIG).read_text()))

    def is_quantized(self) -> bool:
        """Return whether weights stand in 8-bit integers."""
        return any(
            tensor.name.endswith(_QUANTIZED) for tensor in onnx.load_from_string(self.graph).graph.initializer
        )

    def deployed_parameters(self) -> int:
        """Return the number of weights in the graph, in whatever type; scales and zero points are none."""
        return sum(_weights(onnx.load_from_string(self.graph).graph).values())

    def non_embedding_parameters(self) -> int:
        """Return the number of weights outside of embedding tables."""
        graph = onnx.load_from_string(self.graph).graph
        tables = {node.input[0] for node in graph.node if node.op_type == "Gather"}
        return sum(count for name, count in _weights(graph).items() if name not in tables)


def example_inputs(rows: datasets.Dataset, collate: Collate) -> Batch:
    """Return what a model reads of two of `rows`, the shortest and the longest: all that padding can do is in it."""
    lengths = np.asarray(rows["length"])
    return model_inputs(collate([rows[int(lengths.argmin())], rows[int(lengths.argmax())]]))


def _check_size(model: nn.Module) -> None:
    weights = 4 * sum(weight.numel() for weight in model.parameters())
    if weights > _LARGEST_BYTES:
        raise UsageError(
            f"{type(model).__name__} cannot be exported to ONNX: its weights take {weights / 1e9:.1f} GB in float32 and one file holds "
            "2.1; take a smaller model"
        )


def _export(model: nn.Module, inputs: Sequence[str]) -> bytes:
    """Return `model` as a serialized ONNX model for any batch and sequence length."""
    name = type(model).__name__
    for layer in (torch.ops.aten.lstm.input, torch.ops.aten.gru.input):
        # Else only a process's first export keeps lengths open: torch forgets that the exporter replaces these.
        layer._dispatch_cache.clear()
    lengths = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    with quietly():
        try:
            program = torch.onnx.export(
                _Logits(model).eval(),
                # Values do not matter, but one tensor for all would be taken for one input, and a size of 1 for fixed.
                kwargs={read: torch.ones(3, 7, dtype=torch.long) for read in inputs},
                dynamic_shapes=dict.fromkeys(inputs, lengths),
                output_names=["logits"],
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise UsageError(
                f"{name} cannot be exported to ONNX: {one_line(error.__cause__ or error)}; "
                "take a strategy whose model torch.export can trace"
            ) from error
        assert program is not None  # None is what the older exporter returns
        # An LSTM's gates are put in another order: else at each call, and the quantizer would see no weight.
        optimizer.optimize_ir(
            program.model, input_size_limit=_LARGEST_BYTES, output_size_limit=_LARGEST_BYTES
        )
    graph: onnx.ModelProto = program.model_proto
    # The exporter fixes in silence what it cannot keep open.
    sizes = [size for read in graph.graph.input for size in read.type.tensor_type.shape.dim]
    if not all(size.dim_param for size in sizes):
        raise UsageError(
            f"{name} cannot be exported to ONNX: torch.export can trace it for one batch size or length alone; "
            "take a strategy whose model it can trace for any"
        )
    return bytes(graph.SerializeToString())


def config_of(model: nn.Module) -> dict[str, Any]:
    """Return what `model` is described by: its transformers configuration or the settings of a `FolderModel`."""
    config: Any = getattr(model, "config", None)
    if hasattr(config, "to_json_string"):
        return dict(json.loads(config.to_json_string()))
    return dict(config or getattr(model, "settings", {}))


@contextmanager
def quietly() -> Iterator[None]:
    """Silence warnings and what is logged below errors: exporter and quantizer tell what they skip and rename."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class _Logits(nn.Module):
    """A model whose output is its logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        given = {name: value for name, value in inputs.items() if value is not None}
        logits: Tensor = self.model(**given).logits
        return logits


def _weights(graph: onnx.GraphProto) -> dict[str, int]:
    """Return the number of values of each weight in `graph`, by name.

    A weight is a stored tensor of one dimension or more that is float, or quantized by ONNX Runtime: what is float and
    has none is a constant of a formula, what is a plain integer an index or a shape.
    """
    stored = {tensor.name: tensor for tensor in graph.initializer}
    quantized = {name for name in stored if name.endswith(_QUANTIZED)}
    scaling = {name.removesuffix(_QUANTIZED) + ending for name in quantized for ending in _SCALING}
    return {
        name: math.prod(tensor.dims)
        for name, tensor in stored.items()
        if name in quantized or (tensor.data_type in _FLOATS and tensor.dims and name not in scaling)
    }


_MULTIPLICATIONS = ["MatMul", "LSTM"]
"""The operators of linear layers and LSTMs."""
_LOOK_UPS = ["Gather"]


def quantize(
    graph: bytes, *, per_channel: bool = True, reduce_range: bool = False, embeddings: bool = True
) -> bytes:
    """Return the serialized ONNX model `graph` with its weights quantized; what a layer reads is measured in each call.

    Args:
        per_channel: a scale for each output of a linear layer; one for the whole matrix otherwise.
        reduce_range: 7 bits a weight, for processors without VNNI.
        embeddings: quantize embedding tables, too, each with one scale.
    """
    with TemporaryDirectory() as folder, quietly():
        exported, quantized = Path(folder, "float32.onnx"), Path(folder, "int8.onnx")
        exported.write_bytes(graph)
        quantize_dynamic(
            exported,
            quantized,
            op_types_to_quantize=_MULTIPLICATIONS + (_LOOK_UPS if embeddings else []),
            per_channel=per_channel,
            reduce_range=reduce_range,
            nodes_to_exclude=_run_twice(graph),
            weight_type=QuantType.QInt8,
        )
        return quantized.read_bytes()


def _run_twice(graph: bytes) -> list[str]:
    """Return the LSTMs of `graph` that share their weights: the quantizer reshapes these for the first and breaks the next."""
    layers = [node for node in onnx.load_from_string(graph).graph.node if node.op_type == "LSTM"]
    uses = Counter(weight for node in layers for weight in node.input[1:3])
    return [node.name for node in layers if any(uses[weight] > 1 for weight in node.input[1:3])]
