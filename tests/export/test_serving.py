"""Real models that serve requests in real processes, measured and summarized."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.training import no_report
from scipy.special import softmax
from transformers import AutoModelForTokenClassification, AutoTokenizer

import kdbench
from kdbench.budgets import BUDGETS, BackEnd
from kdbench.errors import KdbenchError
from kdbench.export.serving import ServingOrder, export_as_saved, serve_models
from kdbench.measure.serving import CLIENTS, REQUESTS, Served, ServeOrder, ServeReport, rates_of
from kdbench.render.write import write_board
from kdbench.results.records import RecordStore
from kdbench.results.timings import load_timings
from kdbench.share.verify_serving import impossible_in_serving, recomputed_serving
from kdbench.training.experiment import open_experiment

pytestmark = pytest.mark.slow

TASK = "toy-tags"


@pytest.fixture(scope="module")
def config(small_run, tmp_path_factory):
    """Settings of a run with a teacher and a probe, whose results may be changed."""
    results = tmp_path_factory.mktemp("served") / "results"
    shutil.copytree(small_run.results, results)
    return small_run.model_copy(update={"results": results})


@pytest.fixture(scope="module")
def keys(config):
    """The keys of the teacher and of the probe."""
    records = [one for one in RecordStore(config.results).load()[0] if one.task.name == TASK]
    return [one.key for one in sorted(records, key=lambda one: not one.is_teacher)]


def test_a_served_answer_is_tokenizer_forward_and_decoding(config, keys, tmp_path):
    experiment = open_experiment(config, TASK).experiment
    export_as_saved(experiment, keys[0], tmp_path / "exported")
    words = ["anna", "met", "bruno", "in", "new", "york"]
    (answer,) = kdbench.load(tmp_path / "exported").predict([" ".join(words)])
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "exported")
    network = AutoModelForTokenClassification.from_pretrained(tmp_path / "exported").eval()
    encoded = tokenizer([words], is_split_into_words=True, return_tensors="pt")
    with torch.inference_mode():
        probabilities = softmax(network(**encoded).logits[0].numpy(), axis=1)
    firsts = [encoded.word_ids(0).index(place) for place in range(len(words))]
    labels = experiment.task.task.labels
    assert answer.tags == tuple(labels[place] for place in probabilities[firsts].argmax(axis=1))
    assert answer.scores == pytest.approx(probabilities[firsts].max(axis=1), abs=1e-5)


def test_models_start_afresh_and_serve_the_same_requests(config, keys, monkeypatch, tmp_path):
    monkeypatch.setitem(BUDGETS, "smoke", BUDGETS["smoke"].model_copy(update={"serving_processes": 1}))
    order = ServingOrder(config=config, task=TASK, keys=keys, teacher=keys[0], threads=1)
    serve_models(order.model_dump_json(), no_report)
    timings, problems = load_timings(config.results)
    (timing,) = (one for one in timings if one.task == TASK)
    assert problems == []
    serving = timing.serving
    assert [model.key for model in serving.models] == keys
    rates = rates_of(serving.capacity_per_s)
    for model in serving.models:
        assert (model.reason, model.back_end) == (None, BackEnd.TORCH)
        (start,) = model.starts
        assert min(start.python_s, start.load_s, start.answer_s) > 0
        assert start.imports_s > start.load_s  # torch and transformers, beside a model of 100 kB
        assert start.total_s < 600
        # A process with torch takes a few hundred megabytes, most of them libraries.
        assert 50e6 < start.rest_bytes <= start.loading_peak_bytes < 4e9
        assert start.batch_peak_bytes > 50e6
        assert (model.batch_size, model.batch_length) == (32, 64)  # the model reads no more
        assert [loop.clients for loop in model.closed_loop] == list(CLIENTS)
        assert [loop.rate_per_s for loop in model.open_loop] == list(rates)
        for loop in model.closed_loop:
            assert loop.requests <= REQUESTS
            assert loop.p50_ms > 0
            assert (loop.p95_ms is None) == (loop.requests < 72)  # on a busy machine
            assert loop.per_s == pytest.approx(loop.requests / loop.elapsed_s[0])
        for loop in model.open_loop:
            waits = np.subtract(loop.latencies_ms, loop.services_ms)
            assert waits.min() >= -1e-3  # rounding
            assert loop.is_beyond_capacity == (loop.utilization >= 0.95) == (loop.p50_ms is None)
    assert serving.models[0].single.requests == serving.models[1].single.requests
    assert [*impossible_in_serving(serving), *recomputed_serving(serving)] == []
    check_board(config, serving, tmp_path)


def check_board(config, serving, board):
    """Check that the page of the task and the tables have what was measured."""
    write_board(config.results, board, budget="smoke")
    page = (board / f"{TASK}.md").read_text()
    assert page.index("## Speed") < page.index("## Serving") < page.index("## Latency under load")
    for rate in rates_of(serving.capacity_per_s):
        assert f"| busy at {rate:g}/s | p95 ms at {rate:g}/s | p99 ms at {rate:g}/s |" in page
    assert "| per second, 1 client | p95 ms, 1 client | per second, 2 clients |" in page
    loads = pd.read_csv(board / "serving.csv")
    assert len(loads) == len(serving.models) * (len(CLIENTS) + 3)
    rows = pd.read_csv(board / f"{TASK}.csv").set_index("strategy")
    for model in serving.models:
        own = loads[loads["clients"] == 1].set_index("strategy")["p50_ms"]
        (start,) = model.starts
        (name,) = rows.index[np.isclose(rows["cold_start_s"], start.total_s)]
        assert rows.loc[name, "end_to_end_p50_ms"] == pytest.approx(own[name])
        assert rows.loc[name, "end_to_end_p50_ms"] == pytest.approx(model.single.p50_ms)
        assert rows.loc[name, "imports_s"] == pytest.approx(start.python_s + start.imports_s)
        assert rows.loc[name, "rest_bytes"] == start.rest_bytes
    assert not (board / "toy-sentiment.md").read_text().count("## Serving")  # nothing was measured there


def test_a_model_that_fails_says_why_and_costs_the_others_nothing(config, keys, monkeypatch):
    monkeypatch.setitem(BUDGETS, "smoke", BUDGETS["smoke"].model_copy(update={"serving_processes": 2}))
    teacher, probe = keys

    def start(order_file, threads):
        order = ServeOrder.model_validate_json(order_file.read_text())
        if order.folder.name == probe:
            raise KdbenchError("the process that serves it failed: MemoryError")
        served = Served(latencies_ms=[10.0] * 80, services_ms=[10.0] * 80, elapsed_s=0.8)
        report = ServeReport(
            imports_s=3,
            load_s=0.5,
            answer_s=0.1,
            rest_bytes=4,
            loading_peak_bytes=5,
            batch_length=64,
            batch_peak_bytes=6,
            closed=[served for _ in order.clients],
            open=[served for _ in order.rates_per_s],
        )
        order.report_file.write_text(report.model_dump_json())
        return 4.0

    monkeypatch.setattr("kdbench.export.serving._first_answer_s", start)
    order = ServingOrder(config=config, task=TASK, keys=keys, teacher=teacher, threads=1)
    serve_models(order.model_dump_json(), no_report)
    (serving,) = (one.serving for one in load_timings(config.results)[0] if one.task == TASK)
    assert serving.of(probe).reason == "the process that serves it failed: MemoryError"
    assert serving.of(probe).starts == ()
    assert serving.capacity_per_s == pytest.approx(100)
    half, most, above = serving.of(teacher).open_loop
    assert [loop.rate_per_s for loop in (half, most, above)] == [50, 80, 160]
    assert (half.utilization, most.utilization, above.utilization) == pytest.approx((0.5, 0.8, 1.6))
    assert above.is_beyond_capacity
    assert (half.p50_ms, above.p50_ms) == (pytest.approx(10), None)
    assert [start.python_s for start in serving.of(teacher).starts] == pytest.approx([0.4, 0.4])
