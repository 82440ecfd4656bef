"""Count a model's floating-point operations, from the matrix products executed, and its parameters and bytes.

A multiply-add counts as two operations. Linear layers, attention's two products, LSTMs and convolutions are counted;
element-wise operations (activations, normalizations, softmax, look-ups) are left out by convention: a few percent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

_PRODUCTS = ("MatMul", "MatMulInteger", "Gemm")
_GATES = {"LSTM": 4, "DynamicQuantizeLSTM": 4, "GRU": 3}
_UNCOUNTED = ("Conv", "ConvInteger", "ConvTranspose", "Einsum", "QLinearConv", "QLinearMatMul", "RNN")
"""Operators that multiply matrices but have no formula here."""


def graph_flops(graph: bytes, inputs: Mapping[str, Tensor]) -> int | None:
    """Return the operations of the matrix products of `graph` on `inputs`; None if it has products without a formula.

    A multiply-add counts as two, of integers as of floats. The graph is run once as saved, without ONNX Runtime's
    fusions, which would hide its nodes.

    Args:
        graph: a serialized ONNX model.
        inputs: int64 tensors by name, each ``(batch, sequence)``.
    """
    total = 0
    for node in _profile_nodes(graph, inputs):
        name = node["op_name"]
        if name in _UNCOUNTED:
            return None
        if name in _PRODUCTS:
            total += _product_flops(*_first_shapes(node))
        elif name in _GATES:
            total += _GATES[name] * _gate_flops(*_first_shapes(node))
    return total


def _product_flops(left: list[int], product: list[int]) -> int:
    """Return 2 x M x N x K: the product has M x N values, its left factor (possibly transposed) M x K."""
    rows = prod(product[:-1])
    return 2 * prod(product) * (prod(left) // rows)


def _gate_flops(inputs: list[int], states: list[int]) -> int:
    """Return the operations of one gate of a recurrent layer.

    Args:
        inputs: ``(sequence, batch, width)``.
        states: ``(sequence, directions, batch, hidden)``, or without the sequence if only the last state is returned.
    """
    positions, directions, hidden = prod(inputs[:2]), states[-3], states[-1]
    return 2 * positions * directions * hidden * (inputs[-1] + hidden)


def _first_shapes(node: dict[str, Any]) -> Iterator[list[int]]:
    """Yield the shapes of the first input and output, profiled as ``[{"float": [1, 10, 32]}, …]``."""
    for name in ("input_type_shape", "output_type_shape"):
        yield next(shape for tensor in node[name] for shape in tensor.values())


def _profile_nodes(graph: bytes, inputs: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Run the graph and return the arguments of every executed node in ONNX Runtime's profile."""
    import onnxruntime  # imported here because most models are not ONNX graphs

    with TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.intra_op_num_threads = 1
        options.log_severity_level = 3  # errors
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        session.run(None, {node.name: inputs[node.name].cpu().numpy() for node in session.get_inputs()})
        events = json.loads(Path(session.end_profiling()).read_text())
    return [
        event["args"]
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
    ]


COUNTED_DEVICES = ("cpu", "cuda")
"""The device types for which the counter knows the operators of LSTMs and attention."""

_aten = torch.ops.aten
Shape = Sequence[int]


def flop_counter() -> FlopCounterMode:
    """Return a context that counts the operations that torch executes inside it, including backward passes."""
    return FlopCounterMode(display=False, custom_mapping=_FORMULAS)


@torch.no_grad()
def forward_flops(model: nn.Module, inputs: Mapping[str, Tensor]) -> int | None:
    """Return the operations of ``model(**inputs)``, or None if they are unknown.

    A model with an ONNX graph in its attribute ``graph`` (bytes) is counted by the graph's nodes, any other by torch's
    operators. They are unknown if torch executes no matrix product, because the model runs in another library.
    """
    graph = getattr(model, "graph", None)
    if isinstance(graph, bytes):
        return graph_flops(graph, inputs)
    if inputs["input_ids"].device.type not in COUNTED_DEVICES:
        return None
    with flop_counter() as counter:
        model(**inputs)
    return counter.get_total_flops() or None


def _cpu_lstm(inputs: Shape, weight_input: Shape, weight_hidden: Shape, *_: Any, **__: Any) -> int:
    """Return 2 x positions x weights; `inputs` are ``(sequence, batch, width)``, biases are not counted."""
    return 2 * inputs[0] * inputs[1] * (prod(weight_input) + prod(weight_hidden))


def _gpu_lstm(inputs: Shape, weights: Sequence[Shape], *_: Any, **__: Any) -> int:
    """Return 2 x positions x the weights of all layers and directions."""
    return 2 * inputs[0] * inputs[1] * sum(prod(weight) for weight in weights if len(weight) == 2)


def _backward(forward: Callable[..., int]) -> Callable[..., int]:
    """Return the formula of twice the forward pass: gradients of inputs and of weights."""
    return lambda *shapes, **named: 2 * forward(*shapes, **named)


_FORMULAS: dict[Any, Any] = {
    # torch's own counter covers attention only in its GPU kernels, and no LSTM.
    _aten._scaled_dot_product_flash_attention_for_cpu: lambda *shapes, **_: sdpa_flop_count(*shapes[:3]),  # type: ignore[no-untyped-call]
    # Five products, since the kernel recomputes the attentions.
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda *shapes, **_: sdpa_backward_flop_count(*shapes[:4])  # type: ignore[no-untyped-call]
    ),
    _aten.mkldnn_rnn_layer: _cpu_lstm,
    _aten.mkldnn_rnn_layer_backward: _backward(_cpu_lstm),
    _aten._cudnn_rnn: _gpu_lstm,
    _aten._cudnn_rnn_backward: _backward(_gpu_lstm),
}


def count_parameters(model: nn.Module) -> int:
    """Return the number of weights; weights that several modules share count once.

    A model whose weights are not torch parameters (a quantized graph, say) provides it as ``deployed_parameters()``.
    """
    own_count = getattr(model, "deployed_parameters", None)
    if own_count is not None:
        return int(own_count())
    return sum(weight.numel() for weight in model.parameters())


def count_trainable(model: nn.Module) -> int:
    """Return the number of weights that training updates."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def trainable_bytes(model: nn.Module) -> int:
    """Return the bytes of the weights that training updates."""
    return sum(
        weight.numel() * weight.element_size() for weight in model.parameters() if weight.requires_grad
    )


def count_non_embedding(model: nn.Module) -> int:
    """Return the number of weights outside embedding tables, by the model's ``non_embedding_parameters()`` if it has one."""
    own_count = getattr(model, "non_embedding_parameters", None)
    if own_count is not None:
        return int(own_count())
    tables = {
        id(module.weight): module.weight for module in model.modules() if isinstance(module, nn.Embedding)
    }
    return count_parameters(model) - sum(table.numel() for table in tables.values())
