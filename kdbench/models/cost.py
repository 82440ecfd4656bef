"""Floating-point operations, counted from the matrix products that really run.

A multiply-add counts as two. Counted are linear layers, attention's two products, LSTMs and convolutions; what works
value by value (activations, normalizations, softmax, look-ups) is left out, as it is by convention: some percent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

_PRODUCTS = ("MatMul", "MatMulInteger", "Gemm")
_GATES = {"LSTM": 4, "DynamicQuantizeLSTM": 4, "GRU": 3}
_UNKNOWN = ("Conv", "ConvInteger", "ConvTranspose", "Einsum", "QLinearConv", "QLinearMatMul", "RNN")
"""Operators that multiply matrices and have no formula here."""


def graph_flops(graph: bytes, inputs: Mapping[str, Tensor]) -> int | None:
    """Return the operations of the matrix products of `graph` on `inputs`; None where it has products of other kinds.

    A multiply-add counts as two; those of integers count as those of floats do. The graph is run once, as it was
    saved, without the fusions by which ONNX Runtime would hide its nodes.

    Args:
        graph: a serialized ONNX model.
        inputs: by name, each int64 ``(batch, sequence)``.
    """
    total = 0
    for node in _run_nodes(graph, inputs):
        name = node["op_name"]
        if name in _UNKNOWN:
            return None
        if name in _PRODUCTS:
            total += _product(_shapes(node["input_type_shape"])[0], _shapes(node["output_type_shape"])[0])
        elif name in _GATES:
            states = _GATES[name] * _recurrent(
                _shapes(node["input_type_shape"])[0], _shapes(node["output_type_shape"])[0]
            )
            total += states
    return total


def _product(left: list[int], product: list[int]) -> int:
    """Return 2 x M x N x K: the product has M x N values, its left factor (which may lie transposed) M x K."""
    rows = prod(product[:-1])
    return 2 * prod(product) * (prod(left) // rows)


def _recurrent(inputs: list[int], states: list[int]) -> int:
    """Return one gate's operations.

    Args:
        inputs: ``(sequence, batch, width)``.
        states: ``(sequence, directions, batch, hidden)``, or without the sequence where the last alone is asked for.
    """
    positions, directions, hidden = prod(inputs[:2]), states[-3], states[-1]
    return 2 * positions * directions * hidden * (inputs[-1] + hidden)


def _shapes(described: list[dict[str, list[int]]]) -> list[list[int]]:
    """Return the shapes alone of what the profile says: ``[{"float": [1, 10, 32]}, …]``."""
    return [shape for one in described for shape in one.values()]


def _run_nodes(graph: bytes, inputs: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Return what ONNX Runtime's profile says of every node that it ran."""
    import onnxruntime  # only here: most models are no graphs

    with TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.intra_op_num_threads = 1
        options.log_severity_level = 3  # errors
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        session.run(None, {put.name: inputs[put.name].cpu().numpy() for put in session.get_inputs()})
        events = json.loads(Path(session.end_profiling()).read_text())
    return [
        event["args"]
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
    ]


COUNTED_DEVICES = ("cpu", "cuda")
"""On others the operators that LSTMs and attention become are not known to the counter."""

_aten = torch.ops.aten
Shape = Sequence[int]


def flop_counter() -> FlopCounterMode:
    """Return a context that counts the operations of all that torch runs within, backward passes included."""
    return FlopCounterMode(display=False, custom_mapping=_FORMULAS)


@torch.no_grad()
def forward_flops(model: nn.Module, inputs: Mapping[str, Tensor]) -> int | None:
    """Return the operations of ``model(**inputs)``, or None where they cannot be known.

    A model that holds an ONNX graph as ``graph`` (bytes) is counted by the graph's nodes, any other by what torch runs;
    one that runs elsewhere, so that torch sees no matrix product at all, is not known.
    """
    graph = getattr(model, "graph", None)
    if isinstance(graph, bytes):
        return graph_flops(graph, inputs)
    if inputs["input_ids"].device.type not in COUNTED_DEVICES:
        return None
    with flop_counter() as counter:
        model(**inputs)
    return counter.get_total_flops() or None


def _cpu_attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _cpu_attention_backward(
    gradient: Shape, query: Shape, key: Shape, value: Shape, *_: Any, **__: Any
) -> int:
    """Return five products' operations, since the kernel works out the attentions anew."""
    return int(sdpa_backward_flop_count(gradient, query, key, value))  # type: ignore[no-untyped-call]


def _cpu_lstm(inputs: Shape, weight_input: Shape, weight_hidden: Shape, *_: Any, **__: Any) -> int:
    """Return 2 x positions x weights; `inputs` are ``(sequence, batch, width)``, biases count nothing."""
    return 2 * inputs[0] * inputs[1] * (prod(weight_input) + prod(weight_hidden))


def _gpu_lstm(inputs: Shape, weights: Sequence[Shape], *_: Any, **__: Any) -> int:
    """Return 2 x positions x the weights of all layers and directions."""
    return 2 * inputs[0] * inputs[1] * sum(prod(weight) for weight in weights if len(weight) == 2)


def _cpu_lstm_backward(*shapes: Any, **named: Any) -> int:
    """Return twice the forward pass: gradients of inputs and of weights."""
    return 2 * _cpu_lstm(*shapes, **named)


def _gpu_lstm_backward(*shapes: Any, **named: Any) -> int:
    return 2 * _gpu_lstm(*shapes, **named)


_FORMULAS: dict[Any, Any] = {
    # torch's counter knows attention by its GPU kernels alone, and no LSTM.
    _aten._scaled_dot_product_flash_attention_for_cpu: _cpu_attention,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: _cpu_attention_backward,
    _aten.mkldnn_rnn_layer: _cpu_lstm,
    _aten.mkldnn_rnn_layer_backward: _cpu_lstm_backward,
    _aten._cudnn_rnn: _gpu_lstm,
    _aten._cudnn_rnn_backward: _gpu_lstm_backward,
}


def count_parameters(model: nn.Module) -> int:
    """Return the number of weights; one that two modules share counts once.

    A model whose weights are no torch parameters (a quantized graph) tells them by ``deployed_parameters()``.
    """
    told = getattr(model, "deployed_parameters", None)
    if told is not None:
        return int(told())
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
    """Return the number of weights outside of embedding tables, or what ``non_embedding_parameters()`` tells."""
    told = getattr(model, "non_embedding_parameters", None)
    if told is not None:
        return int(told())
    tables = {
        id(module.weight): module.weight for module in model.modules() if isinstance(module, nn.Embedding)
    }
    return count_parameters(model) - sum(table.numel() for table in tables.values())
