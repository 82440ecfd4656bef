"""Operations of ONNX graphs: those of the torch model, however the graph computes them."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from transformers import BertConfig, BertForSequenceClassification

from kdbench.api.spec import parse_spec
from kdbench.models.cost import forward_flops, graph_flops
from kdbench.models.onnx import OnnxModel


def inputs_of(length, batch=1):
    ids = torch.ones(batch, length, dtype=torch.long)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}


@pytest.mark.slow
def test_a_graph_has_the_operations_of_its_model_before_and_after_quantization(registry):
    widths = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
    model = BertForSequenceClassification(BertConfig(vocab_size=50, num_hidden_layers=1, **widths)).eval()
    expected = forward_flops(model, inputs_of(9))
    exported = OnnxModel.of(model, inputs_of(12, batch=3))
    assert forward_flops(exported, inputs_of(9)) == expected
    quantized = registry.strategy(parse_spec("int8")).quantize(exported.graph)
    assert quantized != exported.graph
    assert graph_flops(quantized, inputs_of(9)) == expected


def lstm_graph(directions, output):
    """Return a graph of one LSTM of width 8 and 5 states that reads ``(9, 2, 8)``; `output` is Y or Y_h."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal((directions, 20, width)).astype(np.float32), name)
        for name, width in (("w", 8), ("r", 5))
    ]
    direction = "bidirectional" if directions == 2 else "forward"
    outputs, shape = {"Y": (["states"], [9, directions, 2, 5]), "Y_h": (["", "states"], [directions, 2, 5])}[
        output
    ]
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["read"], to=TensorProto.FLOAT),
        helper.make_node(
            "LSTM", ["read", "w", "r"], outputs, hidden_size=5, direction=direction, name="lstm"
        ),
    ]
    return saved(nodes, [9, 2, 8], ("states", shape), weights)


@pytest.mark.slow
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("output", ["Y", "Y_h"])
def test_an_lstm_by_hand_before_and_after_quantization(directions, output, registry):
    graph, inputs = lstm_graph(directions, output)
    expected = 2 * 9 * 2 * directions * 4 * 5 * (8 + 5)
    assert graph_flops(graph, inputs) == expected
    quantized = registry.strategy(parse_spec("int8")).quantize(graph)
    assert b"DynamicQuantizeLSTM" in quantized
    assert graph_flops(quantized, inputs) == expected


def saved(nodes, read, output, weights):
    """Return these nodes as a serialized model, and an input for it."""
    graph = helper.make_graph(
        nodes,
        "a graph",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, read)],
        [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, output[1])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString(), {"input_ids": torch.ones(*read, dtype=torch.long)}


def graph_of(operator, **attributes):
    """Return a graph of one product of ``(3, 4)`` and ``(4, 5)``, its first factor cast from the input."""
    left = [4, 3] if attributes.get("transA") else [3, 4]
    weight = helper.make_tensor("weight", TensorProto.FLOAT, [4, 5], [0.0] * 20)
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["read"], to=TensorProto.FLOAT),
        helper.make_node(operator, ["read", "weight"], ["product"], **attributes),
    ]
    return saved(nodes, left, ("product", [3, 5]), [weight])


def test_one_product_by_hand():
    assert graph_flops(*graph_of("MatMul")) == 2 * 3 * 4 * 5
    assert graph_flops(*graph_of("Gemm")) == 2 * 3 * 4 * 5
    assert graph_flops(*graph_of("Gemm", transA=1)) == 2 * 3 * 4 * 5


def test_products_of_other_kinds_are_not_guessed_at():
    assert graph_flops(*graph_of("Einsum", equation="ij,jk->ik")) is None
