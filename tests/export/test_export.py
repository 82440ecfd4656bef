"""Every format, loaded by what others load it with."""

import json
import runpy
import shutil

import helpers.toy_plugin as toys
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from helpers.support import make_timing
from huggingface_hub import ModelCard
from peft import PeftModel
from safetensors.torch import load_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    pipeline,
)

from kdbench.api.predictions import Predictions
from kdbench.board.limits import parse_limits
from kdbench.board.load import load_cells
from kdbench.board.tables import board_tables
from kdbench.errors import KdbenchError, UsageError
from kdbench.export.export import export_model
from kdbench.export.manifest import Format
from kdbench.results.records import RecordStore
from kdbench.results.timings import put_timing
from kdbench.utils.formatting import escape_markdown

pytestmark = pytest.mark.slow

LORA = ("lora[r=2]", "toy-sentiment")
TAGS = ("hard-labels[layers=2]", "toy-tags")
SCORE = ("hard-labels[layers=2]", "toy-score")
BILSTM = ("bilstm", "toy-sentiment")


def texts_of(task):
    return [row.get("text") or " ".join(row["words"]) for row in task.load(None)["test"]]


def stored(trained, manifest):
    return Predictions.load(trained.results / "predictions" / f"{manifest.key}.safetensors")


def test_a_plain_folder_answers_in_a_pipeline_as_it_was_scored(exported, trained):
    done = exported(*LORA)
    assert done.manifest.format is Format.HF
    answer = pipeline("text-classification", str(done.folder), top_k=None)
    predictions = stored(trained, done.manifest)
    texts = texts_of(toys.ToySentiment())
    for number, logits in list(zip(predictions.ids, predictions.logits, strict=True))[:5]:
        found = {one["label"]: one["score"] for one in answer([texts[number]])[0]}
        expected = torch.tensor(logits).softmax(0).tolist()
        assert [found["negative"], found["positive"]] == pytest.approx(expected, abs=1e-5)


def test_labels_have_their_names_and_all_else_is_plain(exported):
    folder = exported(*LORA).folder
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert model.config.id2label == {0: "negative", 1: "positive"}
    assert model.config.label2id == {"negative": 0, "positive": 1}
    assert not (folder / "kdbench.json").exists()
    assert {path.suffix for path in folder.iterdir()} == {".json", ".md", ".py", ".safetensors"}
    assert "auto_map" not in json.loads((folder / "config.json").read_text())


def test_tags_come_out_of_a_pipeline_by_name(exported):
    folder = exported(*TAGS).folder
    assert set(AutoModelForTokenClassification.from_pretrained(folder).config.label2id) == set(
        toys.ToyTags.labels
    )
    found = pipeline("token-classification", str(folder), aggregation_strategy="first")("anna was in paris")
    assert {one["entity_group"] for one in found} <= {"PER", "LOC"}


def test_a_graph_answers_by_onnx_runtime_alone(exported, trained):
    done = exported(*SCORE, "onnx")
    onnx.checker.check_model(str(done.folder / "model.onnx"))
    session = onnxruntime.InferenceSession(done.folder / "model.onnx")
    tokenizer = AutoTokenizer.from_pretrained(done.folder)
    predictions, texts = stored(trained, done.manifest), texts_of(toys.ToyScore())
    pieces = tokenizer([texts[i] for i in predictions.ids[:6]], padding=True, return_tensors="np")
    (answers,) = session.run(None, {put.name: pieces[put.name] for put in session.get_inputs()})
    np.testing.assert_allclose(answers, predictions.logits[:6], atol=1e-5)
    assert done.checked.drift < 1e-5


def test_the_graph_of_the_best_within_a_latency_scores_what_the_board_says(
    trained, naming, registry, tmp_path
):
    results = shutil.copytree(trained.results, tmp_path / "results")
    keys = {record.strategy.name: record.key for record in RecordStore(results).load()[0] if record.seed == 0}
    put_timing(
        results, make_timing({keys["lora"]: 8.0, keys["bilstm"]: 2.0}, task="toy-sentiment", teacher_ms=8.0)
    )
    config = naming(None, "toy-sentiment", results=results)
    limits = parse_limits("latency_ms=5")
    done = export_model(config, registry, tmp_path / "out", form=Format.ONNX, limits=limits)
    rows = board_tables(load_cells(results, budget="smoke"), results).rows.set_index(["task", "strategy"])
    assert done.manifest.strategy == BILSTM[0]

    tokenizer = AutoTokenizer.from_pretrained(done.folder)
    labels = json.loads((done.folder / "config.json").read_text())["label2id"]
    session = onnxruntime.InferenceSession(done.folder / "model.onnx")
    examples = [toys.ToySentiment().load(None)["test"][i] for i in stored(trained, done.manifest).ids]
    right = 0
    for example in examples:
        pieces = tokenizer(example["text"], truncation=True, max_length=64, return_tensors="np")
        (logits,) = session.run(None, {put.name: pieces[put.name] for put in session.get_inputs()})
        right += int(logits[0].argmax()) == labels[example["label"]]
    assert right / len(examples) == pytest.approx(rows.loc["toy-sentiment", BILSTM[0]]["score"], abs=1e-9)


def test_an_lstm_becomes_a_graph_since_transformers_has_no_class_for_it(exported):
    done = exported(*BILSTM)
    assert done.manifest.format is Format.ONNX
    assert json.loads((done.folder / "config.json").read_text())["id2label"]["1"] == "positive"


def test_a_quantized_graph_is_smaller_and_what_it_loses_is_measured(exported, trained, naming, registry):
    done = exported(*LORA, "onnx-int8")
    plain = exported(*LORA).manifest
    stored_types = {
        tensor.data_type
        for tensor in onnx.load(str(done.folder / "model.onnx")).graph.initializer
        if tensor.name.endswith("_quantized")
    }
    assert stored_types <= {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    assert stored_types
    assert done.checked.drift > 1e-4  # it is measured, not assumed
    lost = 100 * (done.manifest.score - plain.score)
    card = (done.folder / "README.md").read_text()
    assert f"accuracy {round(lost, 1) + 0.0:+.1f} points" in card


def test_an_adapter_alone_answers_on_its_base_model(exported, trained, tiny_model):
    done = exported(*LORA, "adapter")
    weights = load_file(done.folder / "adapter_model.safetensors")
    # Two matrices of rank 2 for query and value of 4 layers, and the head.
    assert sum(weight.numel() for weight in weights.values()) == 4 * 2 * 2 * (32 + 32) + (2 * 32 + 2)
    assert json.loads((done.folder / "adapter_config.json").read_text())["base_model_name_or_path"] != str(
        tiny_model
    )
    base = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=2)
    model = PeftModel.from_pretrained(base, str(done.folder)).eval()
    predictions, texts = stored(trained, done.manifest), texts_of(toys.ToySentiment())
    pieces = AutoTokenizer.from_pretrained(done.folder)(texts[predictions.ids[0]], return_tensors="pt")
    answer = model(**pieces).logits[0].detach().numpy()
    np.testing.assert_allclose(answer, predictions.logits[0], atol=1e-5)


@pytest.mark.parametrize("sort", [LORA, TAGS, (*SCORE, "onnx"), (*LORA, "onnx-int8"), (*LORA, "adapter")])
def test_the_card_says_what_was_measured(exported, trained, sort):
    done = exported(*sort)
    card = ModelCard.load(done.folder / "README.md")
    record = RecordStore(trained.results).get(done.manifest.key)
    results = {one.metric_type: one.metric_value for one in card.data.eval_results}
    assert results == pytest.approx(done.checked.quality.metrics, abs=1e-6)
    assert done.checked.quality.score == done.manifest.score
    assert {one.dataset_type for one in card.data.eval_results} == {record.task.name}
    for said in (
        escape_markdown(record.strategy.label),
        record.strategy.citation.split(",")[0],
        record.environment.hardware["cpu"],
        "tiny-bert",
        "made up",
        "smoke",
    ):
        assert said in card.content
    assert "Its latency was not measured." in card.content


def test_the_card_holds_what_the_example_prints(exported, capsys):
    folder = exported(*LORA).folder
    runpy.run_path(str(folder / "example.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "->" in printed
    assert printed in (folder / "README.md").read_text()


def test_the_card_tells_the_spread_of_the_seeds(exported):
    card = (exported(*LORA).folder / "README.md").read_text()
    assert "Of 2 seeds" in card
    assert "this is seed 0" in card


def test_what_transformers_cannot_load_is_refused_as_such(naming, registry, tmp_path):
    with pytest.raises(UsageError, match=r"BiLSTM.*--format onnx .*or kdbench"):
        export_model(naming(*BILSTM), registry, tmp_path / "out", form=Format.HF)
    assert list(tmp_path.iterdir()) == []


def test_what_peft_did_not_train_has_no_adapter(naming, registry, tmp_path):
    with pytest.raises(UsageError, match="no adapter of bilstm"):
        export_model(naming(*BILSTM), registry, tmp_path / "out", form=Format.ADAPTER)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_never_replaced(naming, registry, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="exists already; name a new folder"):
        export_model(naming(*LORA), registry, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_model_that_scores_otherwise_than_its_record_leaves_no_folder(naming, registry, tmp_path):
    config = naming(*SCORE)
    shutil.copytree(config.results, tmp_path / "results")
    store = RecordStore(tmp_path / "results")
    for record in store.load()[0]:
        quality = record.quality.model_copy(update={"score": record.quality.score + 0.2})
        store.put(record.model_copy(update={"quality": quality}))
    changed = config.model_copy(update={"results": tmp_path / "results"})
    with pytest.raises(KdbenchError, match="but its run recorded"):
        export_model(changed, registry, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
