"""`kdbench export` and `kdbench predict` from the command line."""

import json
import re

import pandas as pd
import pytest
from transformers import AutoModelForTokenClassification

import kdbench

pytestmark = pytest.mark.slow

LORA = ("lora[r=2]", "toy-sentiment")


@pytest.fixture
def settings(trained, toy_plugin, monkeypatch, cache_dir):
    monkeypatch.setenv("KDBENCH_CACHE", str(cache_dir))
    return ["--results", trained.results, "--budget", "smoke", "--plugin", toy_plugin]


def test_a_row_is_exported_and_told(call, settings, tmp_path):
    out = tmp_path / "model"
    code, told, errors = call(
        "export", *settings, "--task", "toy-tags", "--strategy", "hard-labels[layers=2]", "--out", out
    )
    assert (code, errors) == (0, "")
    assert "hard-labels[layers=2] on toy-tags as hf" in told
    assert str(out) in told
    assert AutoModelForTokenClassification.from_pretrained(out).config.num_labels == 5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--task", "toy-tags"], "name one row of toy-tags"),
        (["--strategy", "lora[r=2]"], "name the one task of the model with --task"),
        (["--task", "toy-sentiment", "--strategy", "lorra"], "'lorra'"),
        (["--task", "toy-sentiment", "--strategy", "lora[r=2]", "--seed", "1"], "--seed 1"),
        (["--task", "toy-sentiment", "--strategy", "lora[r=2]", "--format", "pickle"], "'pickle'"),
        (["--task", "toy-sentiment", "--strategy", "bilstm", "--format", "hf"], "--format onnx"),
        (["--task", "toy-sentiment", "--best-under", "speed=3"], "unknown limit 'speed'"),
        (
            ["--task", "toy-sentiment", "--best-under", "bytes=3M", "--strategy", "lora"],
            "leave --strategy out",
        ),
        (
            ["--task", "toy-sentiment", "--strategy", "lora[r=2]", "--adapter-only", "--format", "hf"],
            "leave --format out",
        ),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(call, settings, tmp_path, arguments, told):
    code, out, errors = call("export", *settings, *arguments, "--out", tmp_path / "model")
    assert (code, out) == (2, "")
    assert re.fullmatch(r"kdbench: [^\n]+\n", errors), errors
    assert told in errors
    assert not any(tmp_path.iterdir())


def test_texts_are_answered_in_words_and_as_json(call, exported):
    folder = exported(*LORA).folder
    expected = kdbench.load(folder).predict(["a good film", "awful"])
    code, out, errors = call("predict", folder, "a good film", "awful")
    assert (code, errors) == (0, "")
    assert [line.split()[1] for line in out.splitlines()[1:]] == [answer.label for answer in expected]
    code, out, errors = call("predict", folder, "a good film", "awful", "--json")
    assert json.loads(out) == [
        {"label": answer.label, "score": answer.score, "scores": answer.scores} for answer in expected
    ]


def test_a_file_is_answered(call, exported, tmp_path):
    (tmp_path / "in.csv").write_text("text\ngood film\nawful film\n")
    code, out, errors = call(
        "predict", exported(*LORA).folder, "--file", tmp_path / "in.csv", "--out", tmp_path / "out.tsv"
    )
    assert (code, errors) == (0, "")
    assert "2 rows" in out
    assert list(pd.read_csv(tmp_path / "out.tsv", sep="\t").columns) == [
        "text",
        "predicted_label",
        "predicted_score",
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "predict takes texts or a --file"),
        (["text", "--file", "in.csv", "--out", "out.csv"], "predict takes texts or a --file"),
        (["--file", "in.csv"], "--file and --out go together"),
        (["text", "--out", "out.csv"], "--file and --out go together"),
        (["text"], "is not a folder with kdbench_export.json"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_one_line(call, tmp_path, arguments, told):
    code, out, errors = call("predict", tmp_path / "gone", *arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"kdbench: [^\n]+\n", errors), errors
    assert told in errors
