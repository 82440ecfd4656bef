"""Export, run and quantize models as ONNX graphs, with ONNX Runtime on the CPU."""

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
_MAX_BYTES = 2**31 - 1
"""The size limit of a protobuf message, and so of a graph with its weights inside."""
_MAX_DRIFT = 1e-4
"""The tolerated difference between a graph's and its model's logits, relative to the largest logit if that is above 1."""
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
_QUANTIZED = "_quantized"
"""The suffix that ONNX Runtime's quantizer gives to quantized weights."""
_SCALING = ("_scale", "_zero_point")
"""The suffixes of their scales and zero points, which are not counted as weights."""


class OnnxModel(nn.Module):
    """A graph that ONNX Runtime runs on the CPU, with torch's number of threads at the time of construction.

    Args:
        graph: an ONNX model with its weights inside; its inputs are int64 ``(batch, sequence)``, its only output is
            the logits.
        config: a description of the model for users of the artifact; plain JSON values.
    """

    def __init__(self, graph: bytes, config: dict[str, Any]) -> None:
        super().__init__()
        self.graph = graph
        self.config = config
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        # A thread that spins between calls takes CPU time from the model that is called next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._inputs = [node.name for node in self._session.get_inputs()]

    @classmethod
    def of(cls, model: nn.Module, example: Mapping[str, Tensor]) -> OnnxModel:
        """Export `model` as a float32 graph for any batch size and sequence length.

        Small weights (up to 1,024 values) with equal values are stored once.

        Args:
            model: a model that returns ``.logits``; it is moved to the CPU, float32 and evaluation mode.
            example: the model's inputs, each int64 ``(batch, sequence)``, on which graph and model are compared; see
                `example_inputs`.

        Raises:
            UsageError: torch cannot export `model`, or it exceeds the maximum file size.
            KdbenchError: the graph's logits differ from the model's.
        """
        _check_size(model)
        model = model.cpu().float().eval()
        example = {name: value.cpu() for name, value in example.items()}
        exported = cls(_export(model, list(example)), config_of(model))
        with torch.no_grad():
            expected = model(**example).logits
        check_logits(
            exported(**example).logits, expected, example, f"the ONNX graph of {type(model).__name__}"
        )
        return exported

    def forward(self, **inputs: Tensor) -> SimpleNamespace:
        """Return float32 ``logits`` on the device of the inputs, which are int64 ``(batch, sequence)``."""
        device = inputs["input_ids"].device
        (logits,) = self._session.run(None, {name: inputs[name].cpu().numpy() for name in self._inputs})
        return SimpleNamespace(logits=torch.from_numpy(logits).to(device))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the graph and the configuration to `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _GRAPH).write_bytes(self.graph)
        (folder / _CONFIG).write_text(json.dumps(self.config, indent=1, sort_keys=True) + "\n")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> OnnxModel:
        """Load a model that `save_pretrained` wrote."""
        return cls((Path(folder) / _GRAPH).read_bytes(), json.loads((Path(folder) / _CONFIG).read_text()))

    def is_quantized(self) -> bool:
        """Return whether weights are stored as 8-bit integers."""
        return any(
            tensor.name.endswith(_QUANTIZED) for tensor in onnx.load_from_string(self.graph).graph.initializer
        )

    def deployed_parameters(self) -> int:
        """Return the number of weights in the graph, of any type, without scales and zero points."""
        return sum(_weights(onnx.load_from_string(self.graph).graph).values())

    def non_embedding_parameters(self) -> int:
        """Return the number of weights outside embedding tables."""
        graph = onnx.load_from_string(self.graph).graph
        tables = {node.input[0] for node in graph.node if node.op_type == "Gather"}
        return sum(count for name, count in _weights(graph).items() if name not in tables)


def check_logits(answered: Tensor, expected: Tensor, inputs: Mapping[str, Tensor], what: str) -> None:
    """Check that the logits that `what` has `answered` to `inputs` are those of the model, `expected`, up to rounding.

    Those of padding are not read, and may differ: a padding piece whose window holds padding alone attends to nothing
    (ModernBERT), which runtimes compute in different ways.

    Raises:
        KdbenchError: they differ by more than 1e-4, relative to the largest logit if that is above 1.
    """
    if expected.dim() == 3:  # (batch, sequence, labels)
        read = inputs["attention_mask"].bool()
        answered, expected = answered[read], expected[read]
    drift = float((answered - expected).abs().max())
    if not drift <= _MAX_DRIFT * max(1.0, float(expected.abs().max())):
        raise KdbenchError(f"{what} does not match the model: their logits differ by {drift:.1e}")


def example_inputs(rows: datasets.Dataset, collate: Collate) -> Batch:
    """Return the model inputs for the shortest and the longest of `rows`, so that they include padding."""
    lengths = np.asarray(rows["length"])
    return model_inputs(collate([rows[int(lengths.argmin())], rows[int(lengths.argmax())]]))


def _check_size(model: nn.Module) -> None:
    weights = 4 * sum(weight.numel() for weight in model.parameters())
    if weights > _MAX_BYTES:
        raise UsageError(
            f"{type(model).__name__} cannot be exported to ONNX: its weights take {weights / 1e9:.1f} GB in float32, "
            "and a file has at most 2.1; choose a smaller model"
        )


def _export(model: nn.Module, inputs: Sequence[str]) -> bytes:
    """Return `model` as a serialized ONNX model for any batch size and sequence length."""
    name = type(model).__name__
    for layer in (torch.ops.aten.lstm.input, torch.ops.aten.gru.input):
        # Otherwise only a process's first export has dynamic lengths: torch caches the dispatch of these operators.
        layer._dispatch_cache.clear()
    lengths = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    with quietly():
        try:
            program = torch.onnx.export(
                _Logits(model).eval(),
                # Values do not matter, but a shared tensor would become one input, and a size of 1 a fixed size.
                kwargs={argument: torch.ones(3, 7, dtype=torch.long) for argument in inputs},
                dynamic_shapes=dict.fromkeys(inputs, lengths),
                output_names=["logits"],
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise UsageError(
                f"{name} cannot be exported to ONNX: {one_line(error.__cause__ or error)}; "
                "choose a strategy whose model torch.export can trace"
            ) from error
        assert program is not None  # only the older exporter returns None
        # Folds the reordering of an LSTM's gates, which would otherwise run in each call and hide weights from the quantizer.
        optimizer.optimize_ir(program.model, input_size_limit=_MAX_BYTES, output_size_limit=_MAX_BYTES)
    graph: onnx.ModelProto = program.model_proto
    # The exporter silently fixes dimensions that it cannot make dynamic.
    sizes = [size for node in graph.graph.input for size in node.type.tensor_type.shape.dim]
    if not all(size.dim_param for size in sizes):
        raise UsageError(
            f"{name} cannot be exported to ONNX: torch.export can trace it only for one batch size or length; "
            "choose a strategy whose model it can trace for any"
        )
    return bytes(graph.SerializeToString())


def config_of(model: nn.Module) -> dict[str, Any]:
    """Return the description of `model`: its transformers configuration or the settings of a `FolderModel`."""
    config: Any = getattr(model, "config", None)
    if hasattr(config, "to_json_string"):
        return dict(json.loads(config.to_json_string()))
    return dict(config or getattr(model, "settings", {}))


@contextmanager
def quietly() -> Iterator[None]:
    """Silence warnings and log messages below errors, since exporter and quantizer report what they skip and rename."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class _Logits(nn.Module):
    """Wraps a model to return only its logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        provided = {name: value for name, value in inputs.items() if value is not None}
        logits: Tensor = self.model(**provided).logits
        return logits


def _weights(graph: onnx.GraphProto) -> dict[str, int]:
    """Return the number of values of each weight in `graph`, by name.

    Weights are the stored float tensors of at least one dimension and those quantized by ONNX Runtime: float scalars
    are constants of formulas, and other integers are indices or shapes.
    """
    stored = {tensor.name: tensor for tensor in graph.initializer}
    quantized = {name for name in stored if name.endswith(_QUANTIZED)}
    scaling = {name.removesuffix(_QUANTIZED) + ending for name in quantized for ending in _SCALING}
    return {
        name: math.prod(tensor.dims)
        for name, tensor in stored.items()
        if name in quantized or (tensor.data_type in _FLOATS and tensor.dims and name not in scaling)
    }


def quantize(
    graph: bytes, *, per_channel: bool = True, reduce_range: bool = False, embeddings: bool = True
) -> bytes:
    """Quantize the weights of the serialized ONNX model `graph` to int8; activations are scaled dynamically in each call.

    Args:
        per_channel: use one scale per output of a linear layer instead of one per matrix.
        reduce_range: use 7 bits per weight, for processors without VNNI.
        embeddings: quantize embedding tables, too, with one scale each.
    """
    with TemporaryDirectory() as folder, quietly():
        exported, quantized = Path(folder, "float32.onnx"), Path(folder, "int8.onnx")
        exported.write_bytes(graph)
        quantize_dynamic(
            exported,
            quantized,
            op_types_to_quantize=["MatMul", "LSTM"] + (["Gather"] if embeddings else []),
            per_channel=per_channel,
            reduce_range=reduce_range,
            nodes_to_exclude=_sharing_lstms(graph),
            weight_type=QuantType.QInt8,
        )
        return quantized.read_bytes()


def _sharing_lstms(graph: bytes) -> list[str]:
    """Return the LSTMs of `graph` that share weights, which the quantizer reshapes for the first and so breaks the next."""
    layers = [node for node in onnx.load_from_string(graph).graph.node if node.op_type == "LSTM"]
    uses = Counter(weight for node in layers for weight in node.input[1:3])
    return [node.name for node in layers if any(uses[weight] > 1 for weight in node.input[1:3])]
