import json
import logging
import warnings
from types import SimpleNamespace

import onnx
import onnxruntime
import pytest
import torch
from helpers.architectures import config
from kdbench_plugins._adapter_model import AdapterModel
from kdbench_plugins._bilstm_model import BiLSTMModel
from onnx import TensorProto, helper
from torch import nn
from transformers import (
    AutoModelForTokenClassification,
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
)

from kdbench.errors import KdbenchError, UsageError
from kdbench.models.cost import count_non_embedding, count_parameters, count_trainable
from kdbench.models.onnx import OnnxModel, example_inputs

CONFIG = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
    "num_labels": 3,
}
LENGTHS = [[1], [9], [5, 3], [12, 1, 7, 12], [23] * 6]


def sequence_head():
    return BertForSequenceClassification(BertConfig(**CONFIG, attn_implementation="eager"))


def token_head_with_adapters():
    base = BertForTokenClassification(BertConfig(**CONFIG))
    return AdapterModel.around(base, placement="houlsby", bottleneck=4, activation="gelu")


def bilstm_for_tokens():
    return BiLSTMModel(
        vocabulary=60,
        table_size=50,
        embedding_size=50,
        hidden_size=50,  # matrices of 10,000 weights: the exporter by itself leaves these to be reordered in each call
        dense_size=5,
        outputs=3,
        tokens=True,
        pairs=False,
        dropout=0.1,
    )


def batch_of(lengths, width=None):
    """Return texts of random word pieces, padded to `width`."""
    width = width or max(lengths)
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    draw = torch.Generator().manual_seed(sum(lengths))
    ids = torch.randint(1, 60, (len(lengths), max(lengths)), generator=draw)
    ids = nn.functional.pad(ids, (0, width - max(lengths))) * mask
    return {"input_ids": ids, "token_type_ids": torch.zeros_like(ids), "attention_mask": mask}


@pytest.fixture(
    scope="module",
    params=[sequence_head, token_head_with_adapters, bilstm_for_tokens],
    ids=["sequences", "tokens with adapters", "bilstm for tokens"],
)
def pair(request):
    """A model, no two of its weights alike, and its graph."""
    torch.manual_seed(0)
    model = request.param().eval()
    for weight in model.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    return model, OnnxModel.of(model, batch_of([4, 6]))


@pytest.mark.slow
def test_the_graph_answers_as_the_model_for_any_batch_and_length(pair):
    model, exported = pair
    for lengths in LENGTHS:
        batch = batch_of(lengths)
        with torch.no_grad():
            expected = model(**batch).logits
        logits = exported(**batch).logits
        assert (logits.shape, logits.dtype) == (expected.shape, torch.float32)
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_padding_changes_no_answer(pair):
    _, exported = pair
    alone = exported(**batch_of([7])).logits
    padded = exported(**batch_of([7], width=15)).logits
    if alone.dim() == 3:
        padded = padded[:, :7]
    torch.testing.assert_close(padded, alone, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_parameters_are_those_of_the_model(pair):
    model, exported = pair
    assert count_parameters(exported) == count_parameters(model)
    assert count_non_embedding(exported) == count_non_embedding(model)
    assert count_trainable(exported) == 0


@pytest.mark.slow
def test_it_comes_back_from_its_folder_as_it_was(pair, tmp_path):
    model, exported = pair
    exported.save_pretrained(tmp_path / "artifact")
    assert sorted(path.name for path in (tmp_path / "artifact").iterdir()) == ["config.json", "model.onnx"]
    again = OnnxModel.from_pretrained(tmp_path / "artifact")
    batch = batch_of([5, 11])
    assert torch.equal(again(**batch).logits, exported(**batch).logits)
    assert again.config == exported.config
    if isinstance(model, BiLSTMModel):
        assert again.config == model.settings
    elif isinstance(model, BertForSequenceClassification):
        assert BertConfig(**again.config).id2label == model.config.id2label


def test_it_runs_on_as_many_threads_as_torch_has(monkeypatch):
    graph = tiny_graph([("scale", TensorProto.FLOAT, [2])])
    seen = []
    session = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda g, options, **k: seen.append(options) or session(g, options, **k),
    )
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            OnnxModel(graph, {})
    finally:
        torch.set_num_threads(before)
    assert [(options.intra_op_num_threads, options.inter_op_num_threads) for options in seen] == [
        (1, 1),
        (2, 1),
    ]
    for options in seen:  # a thread that waits leaves its core to the next model
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
        assert options.get_session_config_entry("session.inter_op.allow_spinning") == "0"


def test_it_knows_whether_its_weights_are_integers():
    weight = ("val_1_quantized", TensorProto.INT8, [4, 5])
    assert OnnxModel(tiny_graph([weight]), {}).is_quantized()
    assert not OnnxModel(tiny_graph([("val_1", TensorProto.FLOAT, [4, 5])]), {}).is_quantized()


def tiny_graph(stored):
    """Return a graph that adds the inputs and holds `stored` tensors: name, type, shape."""
    tensors = [
        helper.make_tensor(name, kind, shape, [1] * torch.Size(shape).numel()) for name, kind, shape in stored
    ]
    sizes = ["batch", "sequence"]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, sizes)
        for name in ("input_ids", "attention_mask")
    ]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, sizes)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["row"])
        if any(name == "table" for name, _, _ in stored)
        else helper.make_node("Identity", ["input_ids"], ["row"]),
        helper.make_node("Add", ["input_ids", "attention_mask"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["logits"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(nodes, "tiny", inputs, [logits], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return model.SerializeToString()


def test_weights_are_counted_and_what_scales_or_shapes_them_is_not():
    stored = [
        ("table", TensorProto.FLOAT, [7, 4]),
        ("bias", TensorProto.FLOAT, [1]),
        ("val_1_quantized", TensorProto.INT8, [4, 5]),
        ("val_1_scale", TensorProto.FLOAT, [5]),
        ("val_1_zero_point", TensorProto.INT8, [5]),
        ("my_scale", TensorProto.FLOAT, [3]),  # a weight of that name: nothing of it is quantized
        ("eps", TensorProto.FLOAT, []),
        ("positions", TensorProto.INT64, [1, 9]),
        ("allowed", TensorProto.BOOL, [2]),
    ]
    model = OnnxModel(tiny_graph(stored), {})
    assert model.deployed_parameters() == 7 * 4 + 1 + 4 * 5 + 3
    assert model.non_embedding_parameters() == 1 + 4 * 5 + 3


def test_inputs_that_the_graph_does_not_read_are_left_out():
    ones = torch.ones(2, 3, dtype=torch.long)
    model = OnnxModel(tiny_graph([]), {})
    answers = model(input_ids=ones, attention_mask=ones, token_type_ids=ones).logits
    assert torch.equal(answers, torch.full((2, 3), 2.0))


def test_examples_are_the_shortest_row_beside_the_longest(make_experiment):
    experiment = make_experiment()
    rows = experiment.task.train
    batch = example_inputs(rows, experiment.collate)
    assert set(batch) == {"input_ids", "attention_mask", "token_type_ids"}
    assert batch["attention_mask"].sum(1).tolist() == [min(rows["length"]), max(rows["length"])]


class Toy(nn.Module):
    """A bag of word pieces."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(60, 3)

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        return SimpleNamespace(logits=(self.table(input_ids) * attention_mask[..., None]).sum(1))


class OfOneLength(Toy):
    def forward(self, input_ids, attention_mask, token_type_ids=None):
        rows = [self.table(input_ids[:, i]) for i in range(input_ids.shape[1])]
        return SimpleNamespace(logits=torch.stack(rows).sum(0))


class LooksAtValues(Toy):
    def forward(self, input_ids, attention_mask, token_type_ids=None):
        return super().forward(input_ids, attention_mask + int(input_ids.sum()) % 2)


class Moody(Toy):
    """It answers otherwise where it is exported."""

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        return super().forward(input_ids, attention_mask * (2 if torch.compiler.is_exporting() else 1))


@pytest.mark.slow
@pytest.mark.parametrize("model_class", [OfOneLength, LooksAtValues])
def test_a_model_that_cannot_be_exported_is_refused_in_one_line(model_class):
    with pytest.raises(
        UsageError, match=f"^{model_class.__name__} cannot be exported to ONNX: .*; choose a strategy"
    ) as caught:
        OnnxModel.of(model_class(), batch_of([4, 6]))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_graph_that_is_not_the_model_is_refused():
    with pytest.raises(
        KdbenchError, match="ONNX graph of Moody does not match the model: their logits differ by"
    ):
        OnnxModel.of(Moody(), batch_of([4, 6]))


def test_more_weights_than_one_file_holds_are_refused():
    with torch.device("meta"):
        large = nn.Linear(2**15, 2**14)  # 2 GiB
    with pytest.raises(UsageError, match=r"Linear cannot be exported to ONNX: its weights take 2\.1 GB"):
        OnnxModel.of(large, batch_of([4, 6]))


@pytest.mark.slow
def test_exporting_says_nothing_and_leaves_a_sound_file(tmp_path, capfd, caplog):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        exported = OnnxModel.of(Toy(), batch_of([4, 6]))
    assert [str(warning.message) for warning in warned] == []
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []
    assert logging.root.manager.disable == logging.NOTSET
    exported.save_pretrained(tmp_path)
    onnx.checker.check_model(str(tmp_path / "model.onnx"), full_check=True)
    assert json.loads((tmp_path / "config.json").read_text()) == {}


@pytest.mark.slow
def test_what_padding_attends_to_does_not_matter():
    """A piece of padding whose window holds padding alone attends to nothing, for which runtimes give other numbers."""
    torch.manual_seed(0)
    model = AutoModelForTokenClassification.from_config(config("modernbert", num_hidden_layers=2)).eval()
    mask = torch.tensor([[1] * 20, [1] * 3 + [0] * 17])
    example = {"input_ids": torch.arange(5, 45).view(2, 20) % 40, "attention_mask": mask}
    found, expected = (one(**example).logits for one in (OnnxModel.of(model, example), model))
    read = mask.bool()
    torch.testing.assert_close(found[read], expected[read], rtol=0, atol=1e-5)
    assert (found - expected)[~read].abs().max() > 0.01
