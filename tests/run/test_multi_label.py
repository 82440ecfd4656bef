"""A file with a column for each label runs through the whole harness, from the command line to plain transformers."""

import csv
import random

import numpy as np
import pandas as pd
import pytest
from helpers.small_run import Nobody
from sklearn.metrics import average_precision_score, f1_score
from transformers import pipeline

import kdbench
from kdbench.api.predictions import Predictions
from kdbench.config import RunConfig
from kdbench.plugins import load_registry
from kdbench.results.paths import CellFiles, read_fit
from kdbench.results.records import RecordStore
from kdbench.run.runner import run

pytestmark = pytest.mark.slow

LABELS = ("story", "music", "actor")
TEXT = "a film with story and cats"


def write_topics(path):
    """Write texts labelled by the words that they contain."""
    draw = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["text", *LABELS])
        for _ in range(240):
            marks = [int(draw.random() < 0.4) for _ in LABELS]
            words = [name for name, mark in zip(LABELS, marks, strict=True) if mark]
            words += draw.choices(("the", "a", "very", "good", "film", "with", "and", "cats"), k=6)
            rows.writerow([" ".join(draw.sample(words, len(words))), *marks])


@pytest.fixture(scope="module")
def ran(tmp_path_factory, tiny_model, cache_dir):
    folder = tmp_path_factory.mktemp("multi-label")
    write_topics(folder / "topics.csv")
    config = RunConfig.model_validate(
        {
            "tasks": {
                "topics": {
                    "train": str(folder / "topics.csv"),
                    "label": LABELS,
                    "metrics": ["macro-f1", "map"],
                }
            },
            "strategy": ["finetune[learning_rate=0.003]", "vanilla-kd[layers=2]", "linear-probe"],
            "drawings": False,
            "budget": "smoke",
            "model": str(tiny_model),
            "results": folder / "results",
            "board": folder / "board",
            "cache_dir": cache_dir,
        }
    )
    outcome = run(config, load_registry(config), Nobody())
    assert outcome.failed == 0
    return config


@pytest.fixture(scope="module")
def records(ran):
    return {record.strategy.label: record for record in RecordStore(ran.results).load()[0]}


def test_scores_are_those_of_the_labels_above_the_stored_thresholds(ran, records):
    for record in records.values():
        answers = Predictions.load(CellFiles(ran.results, record.key).predictions)
        thresholds = read_fit(CellFiles(ran.results, record.key)).thresholds
        assert answers.thresholds.tolist() == pytest.approx(thresholds)
        given = answers.logits > np.float32(thresholds)
        assert record.quality.metrics == pytest.approx(
            {
                "micro-f1": f1_score(answers.references, given, average="micro"),
                "macro-f1": record.quality.metrics["macro-f1"],
                "map": average_precision_score(answers.references, answers.logits),
            }
        )
        assert record.quality.low <= record.quality.score <= record.quality.high
    assert any(any(read_fit(CellFiles(ran.results, record.key)).thresholds) for record in records.values())


def test_the_board_has_calibration_and_fidelity_and_verify_finds_no_problem(ran, call):
    rows = pd.read_csv(ran.board / "topics.csv").set_index("strategy")
    assert set(rows["metric"]) == {"micro-f1"}
    assert (
        rows.loc["vanilla-kd[layers=2]", ["label_loyalty", "calibration_error", "brier_score"]].notna().all()
    )
    code, out, _ = call("verify", ran.results)
    assert code == 0, out
    assert "No problem found" in out


@pytest.mark.parametrize("form", ["hf", "onnx"])
def test_an_exported_model_answers_by_its_thresholds_in_kdbench_and_in_transformers(
    ran, records, call, tmp_path, form
):
    (file,) = (table.train for table in ran.tasks.values())
    code, _, err = call(
        *("export", "--task-file", file, "--task-name", "topics", "--label", ",".join(LABELS)),
        *("--results", ran.results, "--budget", "smoke", "--strategy", "finetune[learning_rate=0.003]"),
        *("--model", ran.model, "--format", form, "--out", tmp_path / form),
    )
    assert code == 0, err
    model = kdbench.load(tmp_path / form)
    thresholds = model.manifest.probability_thresholds
    (answer,) = model.predict([TEXT])
    assert answer.labels == tuple(name for name in LABELS if answer.scores[name] > thresholds[name])
    key = records["finetune[learning_rate=0.003]"].key
    assert model.manifest.thresholds == read_fit(CellFiles(ran.results, key)).thresholds
    if form == "hf":
        scores = pipeline("text-classification", model=str(tmp_path / form))(TEXT, top_k=None)
        assert {item["label"]: item["score"] for item in scores} == pytest.approx(answer.scores, abs=1e-4)
