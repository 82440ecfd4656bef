import numpy as np
import onnx
import pytest
import torch
from helpers.support import key_named
from helpers.training import no_report
from kdbench_plugins._bilstm_model import BiLSTMModel
from kdbench_plugins.int8 import Int8
from onnx import numpy_helper
from transformers import BertConfig, BertForSequenceClassification

from kdbench import StudentParams, UsageError
from kdbench.api.predictions import Predictions
from kdbench.api.spec import parse_spec
from kdbench.models.cost import count_non_embedding, count_parameters
from kdbench.models.onnx import OnnxModel
from kdbench.results.paths import CellFiles
from kdbench.results.records import RecordStore, Status
from kdbench.run.cell import CellOrder, score_cell, train_cell
from kdbench.training.bench import TrainingBench
from kdbench.training.predict import predict


def quantized(exported, **params):
    return OnnxModel(Int8(Int8.Params(**params)).quantize(exported.graph), exported.config)


def stored(model):
    """Return the tensors of a graph by name."""
    graph = onnx.load_from_string(model.graph).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def inputs():
    ids = torch.randint(0, 500, (8, 12), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.fixture(scope="module")
def float32():
    """A model that is mostly matrices, one output of each with far larger weights than the others, and its graph."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=500,
        hidden_size=128,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=512,
        max_position_embeddings=64,
        num_labels=3,
    )
    model = BertForSequenceClassification(config).eval()
    for weight in model.parameters():
        weight.data += 0.05 * torch.randn_like(weight)
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.weight.data[0] *= 20
    return model, OnnxModel.of(model, inputs())


def test_a_quarter_of_the_bytes_and_all_of_the_weights_are_left(float32):
    model, exported = float32
    small = quantized(exported)
    assert len(small.graph) < 0.4 * len(exported.graph)
    assert count_parameters(small) == count_parameters(exported) == count_parameters(model)
    assert count_non_embedding(small) == count_non_embedding(exported) == count_non_embedding(model)


def test_each_output_of_a_layer_is_rounded_by_its_own_scale(float32):
    model, exported = float32
    weights = model.classifier.weight.detach().numpy()
    tensors = stored(quantized(exported))
    name = next(name for name in tensors if name.endswith("_quantized") and tensors[name].shape == (128, 3))
    scale = np.abs(weights).max(1) / 127
    np.testing.assert_allclose(tensors[name.replace("_quantized", "_scale")], scale, rtol=1e-6)
    np.testing.assert_allclose(tensors[name].T, weights / scale[:, None], atol=0.5 + 1e-4)
    assert not tensors[name.replace("_quantized", "_zero_point")].any()


@pytest.mark.parametrize(("reduce_range", "largest"), [(False, 127), (True, 64)])
def test_reduced_range_takes_seven_bits(float32, reduce_range, largest):
    tensors = stored(quantized(float32[1], reduce_range=reduce_range, embeddings=False))
    tops = {
        np.abs(tensor.astype(int)).max() for name, tensor in tensors.items() if name.endswith("_quantized")
    }
    assert tops == {largest}


def test_embeddings_are_rounded_on_one_scale_or_stay_as_they_are(float32):
    model, exported = float32
    table = model.bert.embeddings.word_embeddings.weight.detach().numpy()

    def quantized_table(**params):
        tensors = stored(quantized(exported, **params))
        (name,) = (name for name, tensor in tensors.items() if tensor.shape == table.shape)
        return name.removesuffix("_quantized"), tensors

    name, tensors = quantized_table(embeddings=False)
    np.testing.assert_array_equal(tensors[name], table)
    name, tensors = quantized_table(embeddings=True)
    rounded, zero = (tensors[f"{name}_{part}"].astype(int) for part in ("quantized", "zero_point"))
    scale = np.ptp(table) / 255
    assert tensors[f"{name}_quantized"].itemsize == 1
    np.testing.assert_allclose(tensors[f"{name}_scale"], scale, rtol=1e-6)
    np.testing.assert_allclose(
        rounded - zero, table / scale, atol=1
    )  # half a step for w, half for the zero point


def test_a_scale_for_each_output_is_closer_than_one_for_all(float32):
    _, exported = float32
    expected = exported(**inputs()).logits
    drifts = [
        (quantized(exported, per_channel=per_channel)(**inputs()).logits - expected).norm() / expected.norm()
        for per_channel in (True, False)
    ]
    assert drifts[0] < drifts[1] / 2
    assert 0 < drifts[0] < 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("pairs", "kept", "rounded"), [(False, 0, 2), (True, 4, 0)])
def test_an_lstm_is_quantized_unless_it_runs_twice(pairs, kept, rounded):
    torch.manual_seed(0)
    width = {"table_size": 50, "embedding_size": 50, "hidden_size": 50, "dense_size": 10}
    model = BiLSTMModel(vocabulary=500, outputs=3, tokens=False, pairs=pairs, dropout=0.1, **width)
    batch = inputs()
    batch["token_type_ids"] = torch.arange(12).ge(5).long().expand(8, 12)
    exported = OnnxModel.of(model, batch)
    small = quantized(exported)
    nodes = [node.op_type for node in onnx.load_from_string(small.graph).graph.node]
    assert (nodes.count("LSTM"), nodes.count("DynamicQuantizeLSTM")) == (kept, rounded)
    assert count_parameters(small) == count_parameters(exported) == count_parameters(model)
    expected = exported(**batch).logits
    assert 0 < (small(**batch).logits - expected).norm() < 0.05 * expected.norm()


@pytest.mark.slow
def test_a_trained_model_keeps_its_answers_and_comes_back_the_same(make_experiment, tiny_budget, tmp_path):
    steps = dict.fromkeys(tiny_budget.steps, 80)
    budget = tiny_budget.model_copy(update={"train_examples": 192, "steps": steps, "evaluations": 1})
    experiment = make_experiment(budget=budget)
    strategy = Int8(Int8.Params())
    bench = TrainingBench(experiment, strategy, 0, no_report)
    trained = bench.train(bench.student(StudentParams(layers=1, init="base")), learning_rate=0.003)
    bench = TrainingBench(experiment, strategy, 0, no_report, trained)
    small = strategy.fit(bench)

    def answers_of(model):
        return predict(model, bench.task.scored, experiment.collate, device=torch.device("cpu"))

    answers, small_answers = answers_of(trained), answers_of(small)
    assert (answers.predicted == answers.references).mean() > 0.8  # there is something to keep
    assert (small_answers.predicted == answers.predicted).mean() > 0.9
    small.save_pretrained(tmp_path)
    np.testing.assert_array_equal(
        answers_of(OnnxModel.from_pretrained(tmp_path)).logits, small_answers.logits
    )


@pytest.mark.slow
def test_a_stack_is_trained_quantized_and_scored(make_config):
    config = make_config(task=["toy-tags"])

    def finish(spec):
        order = CellOrder(config=config, spec=parse_spec(spec), task="toy-tags", seed=0, key=key_named(spec))
        train_cell(order.model_dump_json(), no_report)
        score_cell(order.model_dump_json(), no_report)
        return RecordStore(config.results).get(order.key), CellFiles(config.results, order.key)

    (whole, files), (small, small_files) = (
        finish("hard-labels[layers=1]"),
        finish("hard-labels[layers=1]+int8"),
    )
    assert small.status is Status.OK
    assert small.size.total_parameters == whole.size.total_parameters
    assert small.size.non_embedding_parameters == whole.size.non_embedding_parameters
    assert small.cost.steps == whole.cost.steps
    assert {path.name for path in small_files.artifact.iterdir()} >= {
        "model.onnx",
        "config.json",
        "tokenizer.json",
    }
    answers, small_answers = Predictions.load(files.predictions), Predictions.load(small_files.predictions)
    assert (answers.predicted == small_answers.predicted).mean() > 0.9


def test_nothing_comes_after_it(registry):
    with pytest.raises(UsageError, match="int8"):
        registry.strategy(parse_spec("hard-labels+int8+int8"))
