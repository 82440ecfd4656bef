"""What a loaded export answers."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import helpers.toy_plugin as toys
import numpy as np
import pytest
from helpers.manifests import make_manifest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import kdbench
from kdbench.api.predictions import Predictions
from kdbench.api.task import TaskKind
from kdbench.errors import UsageError
from kdbench.export.manifest import read_manifest, write_manifest
from kdbench.export.model import ExportedModel, LabelPrediction, TagsPrediction, ValuePrediction, split_words

pytestmark = pytest.mark.slow

LORA = ("lora[r=2]", "toy-sentiment")


TAGS = ("hard-labels[layers=2]", "toy-tags")


SCORE = ("hard-labels[layers=2]", "toy-score")


BILSTM = ("bilstm", "toy-sentiment")


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def scored(done, trained, task):
    """The stored answers, and the rows that they are of."""
    found = Predictions.load(trained.results / "predictions" / f"{done.manifest.key}.safetensors")
    rows = task.load(None)["test"]
    return found, [rows[i] for i in found.ids]


@pytest.mark.parametrize(
    "sort", [LORA, BILSTM, (*BILSTM, "kdbench")], ids=["transformers", "onnx", "kdbench"]
)
def test_labels_are_those_that_the_benchmark_scored(exported, trained, sort):
    done = exported(*sort)
    stored, rows = scored(done, trained, toys.ToySentiment())
    answers = kdbench.load(done.folder).predict(row["text"] for row in rows)
    assert all(isinstance(answer, LabelPrediction) for answer in answers)
    labels = np.array(["negative", "positive"])
    assert [answer.label for answer in answers] == labels[stored.predicted].tolist()
    found = np.array([[answer.scores[label] for label in labels] for answer in answers])
    np.testing.assert_allclose(found, softmax(stored.logits), atol=1e-5)
    assert all(answer.score == max(answer.scores.values()) for answer in answers)


def test_values_are_those_that_the_benchmark_scored(exported, trained):
    done = exported(*SCORE, "onnx")
    stored, rows = scored(done, trained, toys.ToyScore())
    answers = kdbench.load(done.folder).predict([row["text"] for row in rows])
    assert all(isinstance(answer, ValuePrediction) for answer in answers)
    np.testing.assert_allclose([answer.value for answer in answers], stored.logits[:, 0], atol=1e-5)


def test_tags_of_words_are_those_that_the_benchmark_scored(exported, trained):
    done = exported(*TAGS)
    stored, rows = scored(done, trained, toys.ToyTags())
    answers = kdbench.load(done.folder).predict([row["words"] for row in rows])
    tags = np.array(toys.ToyTags.labels)[stored.predicted]
    assert [tag for answer in answers for tag in answer.tags] == tags.tolist()
    assert [list(answer.words) for answer in answers] == [row["words"] for row in rows]
    assert all(entity.start is None for answer in answers for entity in answer.entities)


def test_entities_of_a_text_stand_at_their_places(exported):
    text = "anna  (who went to New York) was in oslo."
    (answer,) = kdbench.load(exported(*TAGS).folder).predict([text])
    assert isinstance(answer, TagsPrediction)
    assert answer.words == ("anna", "(", "who", "went", "to", "New", "York", ")", "was", "in", "oslo", ".")
    opened = [word for word, tag in zip(answer.words, answer.tags, strict=True) if tag.startswith("B-")]
    assert [entity.text.split()[0] for entity in answer.entities] == opened
    assert all(text[entity.start : entity.end] == entity.text for entity in answer.entities)


def test_a_text_without_words_has_no_tags(exported):
    model = kdbench.load(exported(*TAGS).folder)
    assert model.predict(["", []]) == [TagsPrediction((), (), (), ())] * 2
    assert [len(answer.words) for answer in model.predict(["anna", " ", "in oslo"])] == [1, 0, 2]


def test_threads_get_the_answers_that_one_gets(exported):
    # Words are encoded twice, once without truncation, which is a state of the tokenizer that all share.
    model = kdbench.load(exported(*TAGS).folder)
    texts = ["anna was in oslo", "film " * 90, "(New York)", "bruno met clara"] * 5
    alone = [model.predict([text]) for text in texts]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda text: model.predict([text]), texts)) == alone


def test_long_texts_are_cut_and_long_sentences_split(exported):
    """Three times the 64 pieces that the model takes."""
    filler = " ".join(["film"] * 200)
    model = kdbench.load(exported(*LORA).folder)
    cut, longer = model.predict([filler, f"{filler} awful"])
    # Rows of one batch may differ in the last digits.
    assert (cut.label, cut.scores) == (longer.label, pytest.approx(longer.scores, abs=1e-6))
    (answer,) = kdbench.load(exported(*TAGS).folder).predict([filler])
    assert len(answer.tags) == 200


def test_an_adapter_answers_on_the_base_model_that_is_named_and_on_no_other(exported, trained, tiny_model):
    done = exported(*LORA, "adapter")
    stored, rows = scored(done, trained, toys.ToySentiment())
    answers = kdbench.load(done.folder, base=tiny_model).predict([row["text"] for row in rows[:8]])
    np.testing.assert_allclose(
        [answer.scores["positive"] for answer in answers], softmax(stored.logits[:8])[:, 1], atol=1e-5
    )
    other = exported(*LORA).folder  # a model, but another
    with pytest.raises(UsageError, match=r"is an adapter of tiny-bert .*name its base model"):
        kdbench.load(done.folder, base=other)


def test_pairs_are_two_texts(tiny_model):
    manifest = make_manifest(labels=("no", "yes"), paired=True)
    network = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=2).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = ExportedModel(network, tokenizer, manifest, TaskKind.SEQUENCE_CLASSIFICATION)
    (answer,) = model.predict([("a good film", "very weak")])
    logits = network(**tokenizer("a good film", "very weak", return_tensors="pt")).logits.detach().numpy()
    assert answer.scores["yes"] == pytest.approx(softmax(logits)[0, 1], abs=1e-6)
    for wrong in ("a good film", ("a", "b", "c"), ("a", 3)):
        with pytest.raises(UsageError, match="not a pair; this task has two texts"):
            model.predict([wrong])


@pytest.mark.parametrize("wrong", [["good", None], ["good", 3], ["good", ["a", "b"]]])
def test_what_is_no_text_is_named_by_its_place(exported, wrong):
    model = kdbench.load(exported(*LORA).folder)
    with pytest.raises(UsageError, match=r"text 1 is .*not a text; give a list of strings"):
        model.predict(wrong)


def test_one_text_is_no_list_of_texts(exported):
    model = kdbench.load(exported(*LORA).folder)
    with pytest.raises(UsageError, match=r"write predict\(\[text\]\)"):
        model.predict("good")
    assert model.predict([]) == []


def test_a_folder_that_was_not_exported_or_is_damaged_is_named(tmp_path, exported):
    with pytest.raises(UsageError, match=r"is not a folder with kdbench_export\.json"):
        kdbench.load(tmp_path / "gone")
    with pytest.raises(UsageError, match=r"has no kdbench_export\.json; name a folder that 'kdbench export'"):
        kdbench.load(tmp_path)
    (tmp_path / "kdbench_export.json").write_text("{}")
    with pytest.raises(
        UsageError, match=r"is damaged: no manifest \(format: Field required\); export the model again"
    ):
        kdbench.load(tmp_path)
    for sort, weights in ((LORA, "model.safetensors"), ((*SCORE, "onnx"), "model.onnx")):
        copy = shutil.copytree(exported(*sort).folder, tmp_path / weights)
        (copy / weights).write_bytes(b"cut")
        with pytest.raises(UsageError, match="cannot be loaded: ") as error:
            kdbench.load(copy)
        assert "\n" not in str(error.value)


def test_a_manifest_comes_back_as_it_was_written(exported, tmp_path):
    manifest = exported(*LORA).manifest
    write_manifest(manifest, tmp_path)
    assert read_manifest(tmp_path) == manifest == read_manifest(exported(*LORA).folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Anna lives in Paris.", ["Anna", "lives", "in", "Paris", "."]),
        ("(see U.S. law)", ["(", "see", "U.S", ".", "law", ")"]),
        ("@anna don't #go!?", ["@anna", "don't", "#go", "!", "?"]),
        ('"3.5%"', ['"', "3.5%", '"']),
        ("...", [".", ".", "."]),
        ("\t \n", []),
        ("", []),
        (
            "\N{LEFT DOUBLE QUOTATION MARK}Oslo\N{RIGHT DOUBLE QUOTATION MARK},",
            ["\N{LEFT DOUBLE QUOTATION MARK}", "Oslo", "\N{RIGHT DOUBLE QUOTATION MARK}", ","],
        ),
    ],
)
def test_words_and_marks_stand_alone(text, words):
    assert [word.text for word in split_words(text)] == words


@given(st.text())
def test_words_are_the_text_less_its_white_space(text):
    words = split_words(text)
    assert all(text[word.start : word.end] == word.text for word in words)
    assert "".join(word.text for word in words) == "".join(text.split())
    assert all(word.text for word in words)
    assert [word.start for word in words] == sorted(word.start for word in words)
