"""The latency phase of one task, with real models, for real."""

import shutil

import numpy as np
import pytest
import torch
from helpers.support import key_named
from helpers.training import no_report

from kdbench.api.spec import parse_spec
from kdbench.board.load import load_cells
from kdbench.board.predictions import TaskAnswers
from kdbench.board.tables import board_tables
from kdbench.budgets import ALWAYS_INSTALLED, BUDGETS, BackEnd
from kdbench.config import RunConfig
from kdbench.measure.exports import export_cells
from kdbench.measure.latency import TimingOrder, mend_teacher, prepare_timing, time_process
from kdbench.measure.timing import BATCH_SIZES_ON_ALL_CORES, GRID
from kdbench.measure.timing_summary import compare
from kdbench.results.paths import CellFiles
from kdbench.results.records import RecordStore
from kdbench.results.timings import Speed, load_timings
from kdbench.run.cell import CellOrder, score_cell, train_cell
from kdbench.stats.hierarchical import log_median_ratio
from kdbench.training.experiment import open_experiment
from kdbench.training.teacher import TeacherStore

pytestmark = pytest.mark.slow

FULL = (*ALWAYS_INSTALLED, BackEnd.OPENVINO)

ONE, GRAPH, TWIN = map(key_named, ("one", "graph", "twin"))
SPECS = {
    ONE: "finetune",
    key_named("two"): "hard-labels[layers=4]",
    key_named("small"): "hard-labels[layers=1]",
    GRAPH: "finetune+int8",
}


@pytest.fixture(scope="module")
def trained(tiny_model, toy_plugin, cache_dir, tmp_path_factory):
    """Settings of a run whose four cells are trained."""
    config = RunConfig.model_validate(
        {
            "task": ["toy-sentiment"],
            "budget": "smoke",
            "model": str(tiny_model),
            "results": tmp_path_factory.mktemp("run") / "results",
            "cache_dir": cache_dir,
            "plugins": {"modules": [str(toy_plugin)]},
        }
    )
    for key, spec in SPECS.items():
        order = CellOrder(config=config, spec=parse_spec(spec), task="toy-sentiment", seed=0, key=key)
        train_cell(order.model_dump_json(), no_report)
        if key == ONE:
            score_cell(order.model_dump_json(), no_report)
    return config


def test_a_damaged_teacher_that_no_cell_needs_any_more_is_trained_again(trained, caplog):
    opened = open_experiment(trained, "toy-sentiment")
    store = TeacherStore(opened.experiment, 0)
    before = store.load().state_dict()
    (store.folder / "model.safetensors").unlink()
    mend_teacher(opened, no_report)
    assert all(torch.equal(weights, before[name]) for name, weights in store.load().state_dict().items())
    assert len(caplog.messages) == 1
    mend_teacher(opened, no_report)
    assert len(caplog.messages) == 1


def time_(config, keys, teacher, threads=1):
    order = TimingOrder(config=config, task="toy-sentiment", keys=keys, teacher=teacher, threads=threads)
    prepare_timing(order.model_dump_json(), no_report)
    for process in range(order.processes):
        time_process(order.model_copy(update={"process": process}).model_dump_json(), no_report)
    (timing,), problems = load_timings(config.results)
    assert problems == []
    return timing


@pytest.mark.parametrize("teacher", [ONE, None])
def test_a_small_phase_measures_every_model_beside_the_teacher(trained, teacher):
    threads = torch.get_num_threads()
    timing = time_(trained, list(SPECS), teacher)
    assert torch.get_num_threads() == threads
    assert (timing.task, timing.budget, timing.rounds, timing.batch_size) == ("toy-sentiment", "smoke", 20, 1)
    assert timing.threads == 1
    assert timing.settings == BUDGETS["smoke"].latency_settings()
    assert (timing.processes, timing.inputs) == (1, 10)
    by_key = {model.key: model for model in timing.models}
    assert list(by_key) == list(SPECS)
    for model in by_key.values():
        # The teacher is timed in every runtime in which an artifact runs, too.
        assert len(model.back_ends) == 1 + (model.key == teacher)
        (calls_ms,) = model.main.calls_ms
        assert len(calls_ms) == model.main.calls == 20
        assert model.main.p50_ms == pytest.approx(np.median(calls_ms), abs=1e-4)
        assert model.main.p50_low_ms < model.main.p50_ms < model.main.p50_high_ms
        assert model.back_ends[0].throughput.per_s > 0
        assert model.main.p95_ms is None
        assert model.main.reason == "20 calls are too few for p90 (36), p95 (72), p99 (368)"
        assert model.main.speedup_low <= model.main.speedup <= model.main.speedup_high
        assert model.main.throughput_per_s == pytest.approx(1000 / np.mean(calls_ms), rel=1e-3)
        assert model.tokenization.p50_ms > 0
    assert by_key[GRAPH].back_ends[0].back_end is BackEnd.ONNXRUNTIME_INT8
    assert by_key[ONE].back_ends[0].back_end is BackEnd.TORCH
    assert teacher is None or by_key[ONE].main.speedup == 1  # it is the reference
    # Calls of half a millisecond say little on a shared machine; their intervals say so, and contradict nothing.
    assert (
        by_key[key_named("two")].main.speedup_low / 1.5
        <= 1
        <= by_key[key_named("two")].main.speedup_high * 1.5
    )
    assert by_key[key_named("small")].main.speedup_high > by_key[key_named("two")].main.speedup_low
    assert timing.repeatability.low <= timing.repeatability.ratio <= timing.repeatability.high
    assert timing.repeatability.low / 1.5 <= 1 <= timing.repeatability.high * 1.5
    assert bool(timing.teacher) == (teacher is None)
    assert not list((trained.results / "timings").glob("*partial*"))
    assert timing.busy_share is None or 0 <= timing.busy_share <= 1


def test_exports_are_the_same_whoever_makes_them(trained, monkeypatch):
    config = trained.model_copy(update={"results": trained.results.resolve()})
    back_ends = (BackEnd.ONNXRUNTIME, BackEnd.ONNXRUNTIME_INT8)
    here = dict(export_cells(config, "toy-sentiment", [ONE, GRAPH], back_ends))
    monkeypatch.setattr("kdbench.measure.exports.MIN_PARALLEL", 1)
    elsewhere = dict(export_cells(config, "toy-sentiment", [ONE, GRAPH], back_ends))
    for key, export in elsewhere.items():
        assert (export.made, export.lost) == (here[key].made, here[key].lost)
    assert here[ONE].lost is not None
    assert here[GRAPH].made[BackEnd.ONNXRUNTIME].startswith("the artifact is a graph")


def test_a_full_phase_has_every_back_end_and_the_grid(trained, monkeypatch):
    budget = BUDGETS["smoke"].model_copy(
        update={
            "latency_back_ends": FULL,
            "latency_grid": (BackEnd.TORCH, BackEnd.ONNXRUNTIME),
            "latency_grid_rounds": 6,
            "latency_processes": 3,
        }
    )
    monkeypatch.setitem(BUDGETS, "smoke", budget)
    timing = time_(trained, [ONE, GRAPH], ONE)
    one, graph = timing.models
    assert timing.processes == 3
    assert [run.back_end for run in one.back_ends] == list(FULL)
    torch_run, float_run, int_run, openvino_run = one.back_ends
    for run in one.back_ends:
        assert run.reason is None
        assert (run.points[0].length, run.points[0].calls) == (None, 21)
        assert [len(calls) for calls in run.points[0].calls_ms] == [7, 7, 7]
        assert run.points[0].speedup_low <= run.points[0].speedup <= run.points[0].speedup_high
    in_batches = [(size, None) for size in BATCH_SIZES_ON_ALL_CORES]
    sizes = [(point.batch_size, point.length) for point in torch_run.points[1:]]
    assert (
        sizes == [(point.batch_size, point.length) for point in float_run.points[1:]] == [*GRID, *in_batches]
    )
    assert [(point.batch_size, point.length) for point in int_run.points[1:]] == in_batches
    # On 64 examples a score comes in steps; a few answers may turn.
    assert int_run.score_lost * 64 == pytest.approx(round(int_run.score_lost * 64))
    assert abs(int_run.score_lost) < 0.1
    assert torch_run.score_lost is float_run.score_lost is openvino_run.score_lost is None
    assert [run.points[0].speedup for run in (torch_run, float_run, openvino_run)] == [
        1,
        1,
        1,
    ]  # the teacher's own
    for point in (*torch_run.points[1:], *float_run.points[1:]):
        if point.length == 128:
            assert point.calls == 0
            assert point.p50_ms is None
            assert point.reason.endswith("the model reads 64 word pieces at most")
        elif point.length is not None:
            assert (point.calls, point.reason is not None) == (6, True)
            assert point.p50_low_ms < point.p50_ms < point.p50_high_ms
            assert point.speedup is not None
            assert point.p90_ms is None
    # What is a graph runs as it is, and nowhere else; what it gains on the grid is known, too.
    own, *others = graph.back_ends
    assert own.back_end is BackEnd.ONNXRUNTIME_INT8
    assert own.reason is None
    assert len(own.points) == 1 + len(GRID) + len(in_batches)
    assert all(point.speedup is not None for point in own.points if point.calls)
    assert [(other.back_end, other.points) for other in others] == [
        (BackEnd.ONNXRUNTIME, ()),
        (BackEnd.OPENVINO, ()),
    ]
    assert others[0].reason == "the artifact is a graph for onnxruntime-int8; it is not converted to another"
    assert one.best_at(Speed.SINGLE).back_end in (BackEnd.TORCH, BackEnd.ONNXRUNTIME, BackEnd.OPENVINO)


def test_equal_graphs_under_two_names_tie(trained, monkeypatch):
    # The row that is quantized, and the quantized export of the row that it was made from.
    budget = {"latency_back_ends": (BackEnd.ONNXRUNTIME_INT8,), "latency_processes": 3, "latency_rounds": 90}
    monkeypatch.setitem(BUDGETS, "smoke", BUDGETS["smoke"].model_copy(update=budget))
    for _ in range(3):  # of true intervals one in twenty misses, and three in a row once in 8,000
        one, graph = time_(trained, [ONE, GRAPH], ONE).models
        export, row = one.back_ends[-1].points[0], graph.main
        assert one.back_ends[-1].back_end is graph.back_ends[0].back_end is BackEnd.ONNXRUNTIME_INT8
        found = compare(export.calls_ms, row.calls_ms, log_median_ratio, inputs=15)
        if found.low <= 1 <= found.high:
            break
    else:
        pytest.fail(f"the same graph is {found.low:.3f} to {found.high:.3f}x as fast")
    # Their speed-ups are over the same calls of the same teacher.
    assert row.eager_speedup_low < export.eager_speedup_high
    assert export.eager_speedup_low < row.eager_speedup_high


def test_identical_weights_under_two_names_differ_in_nothing(trained, monkeypatch):
    results, store = trained.results, RecordStore(trained.results)
    record = store.get(ONE)
    one, twin = CellFiles(results, ONE), CellFiles(results, TWIN)
    shutil.copytree(one.folder, twin.folder)
    shutil.copy(one.predictions, twin.predictions)
    named = {"strategy": record.strategy.model_copy(update={"label": "twin"}), "is_teacher": False}
    store.put(record.model_copy(update={"key": TWIN, **named}))
    monkeypatch.setitem(BUDGETS, "smoke", BUDGETS["smoke"].model_copy(update={"latency_rounds": 100}))
    for _ in range(3):  # of true intervals one in twenty misses, and three in a row once in 8,000
        timing = time_(trained, [ONE, TWIN], ONE)
        again = timing.models[1].main
        if again.speedup_low <= 1 <= again.speedup_high:
            break
    else:
        pytest.fail(f"the same weights are {again.speedup_low:.3f} to {again.speedup_high:.3f}x as fast")
    loaded = load_cells(results, budget="smoke")
    rows = board_tables(loaded, results).rows.set_index("strategy")
    assert rows.loc["finetune", ["rank", "tied"]].tolist() == rows.loc["twin", ["rank", "tied"]].tolist()
    found = TaskAnswers(loaded.cells, results).difference("finetune", "twin")
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)
