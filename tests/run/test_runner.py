"""A plan is done: what is run, what is kept, what is made again, and how an interruption is left."""

import shutil
from types import SimpleNamespace

import helpers.failing_plugin
import pandas as pd
import pytest
from filelock import FileLock

from kdbench.api.predictions import Predictions
from kdbench.api.task import TaskKind
from kdbench.errors import KdbenchError, UsageError
from kdbench.plugins import load_plugins
from kdbench.results.paths import CellFiles
from kdbench.results.records import RecordStore, Status
from kdbench.run.plan import State
from kdbench.run.runner import run

pytestmark = pytest.mark.slow

SENTIMENT_ONLY = """
from kdbench import Strategy, TaskKind, hookimpl


class SentimentOnly(Strategy):
    name = "sentiment-only"
    title = "For one kind of task"
    citation = "Nobody 2026"
    kinds = frozenset({TaskKind.SEQUENCE_CLASSIFICATION})

    def fit(self, bench):
        return bench.base()


@hookimpl
def kdbench_strategies():
    return [SentimentOnly]


@hookimpl
def kdbench_cell_finished(record):
    if record.status == "ok":
        raise ValueError(f"saw {record.strategy.name}")
"""


class Told:
    """A watcher that remembers what it was told, and may do something when a cell starts."""

    def __init__(self, at_start=lambda name: None):
        self.starts, self.ends, self.remarks, self.plan = [], [], [], None
        self._at_start = at_start

    def planned(self, plan):
        self.plan = plan

    def started(self, name):
        self._at_start(name)
        self.starts.append(name)

    def progressed(self, name, progress):
        assert name in self.starts

    def ended(self, name, status, reason, score, seconds):
        self.ends.append((name, status.value, reason))

    def remark(self, line):
        self.remarks.append(line)

    @property
    def cells(self):
        return [
            name.removesuffix(" on toy-sentiment, seed 0") for name in self.starts if "latency" not in name
        ]


@pytest.fixture(scope="module")
def settings(toy_plugin, tmp_path_factory):
    """Settings of a run in this process, with every plugin that these tests need."""
    plugin = tmp_path_factory.mktemp("plugins") / "sentiment_only.py"
    plugin.write_text(SENTIMENT_ONLY, encoding="utf-8")
    modules = [str(toy_plugin), helpers.failing_plugin.__file__, str(plugin)]
    return {"executor": "inline", "strategy": ["does-nothing"], "plugins": {"modules": modules}}


@pytest.fixture
def do(make_config, settings):
    """Run settings and return what came of it and what was told."""

    def run_settings(watcher=None, **changed):
        config = make_config(**{**settings, **changed})
        told = watcher or Told()
        return run(config, load_plugins(config.plugins.modules), told), told

    return run_settings


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return SimpleNamespace(results=tmp_path_factory.mktemp("first") / "results", run=None)


@pytest.fixture
def done(do, first, tmp_path):
    """What came of a first run, made once, and what was told of it; its results are there."""
    results = tmp_path / "results"
    if first.run is None:
        first.run = do()
        shutil.copytree(results, first.results)
    else:
        shutil.copytree(first.results, results)
    return first.run


@pytest.fixture
def records(tmp_path):
    """The records in the results folder, by strategy."""

    def load(results=tmp_path / "results"):
        found, problems = RecordStore(results).load()
        assert problems == []
        return {record.strategy.label: record for record in found}

    return load


def test_the_teacher_s_row_comes_first_and_times_are_taken_last(done, records):
    outcome, told = done
    assert told.starts == [
        "finetune on toy-sentiment, seed 0",
        "does-nothing on toy-sentiment, seed 0",
        "latency of toy-sentiment",
    ]
    assert [(status, reason) for _, status, reason in told.ends] == [("ok", None)] * 3
    assert (outcome.failed, outcome.unfinished, outcome.interrupted) == (0, 0, False)
    assert {label: record.status for label, record in records().items()} == {
        "finetune": Status.OK,
        "does-nothing": Status.OK,
    }


def test_what_is_done_is_kept_and_all_is_made_again_only_on_demand(done, do, records, tmp_path):
    before = records()
    (teacher,) = (tmp_path / "results" / "teachers").glob("*/training.json")
    trained = teacher.stat().st_mtime_ns
    _, told = do()
    assert told.starts == []
    assert records() == before
    _, told = do(overwrite="all")
    assert told.cells == ["finetune", "does-nothing"]
    after = records()
    assert teacher.stat().st_mtime_ns > trained
    for label in before:
        assert after[label].finished_at > before[label].finished_at
        assert after[label].quality == before[label].quality


def test_what_failed_is_made_again_only_on_demand(do, records, monkeypatch):
    outcome, told = do(strategy=["raises", "returns-nothing"])
    assert (outcome.failed, told.cells) == (2, ["finetune", "raises", "returns-nothing"])
    before = records()
    outcome, told = do(strategy=["raises", "returns-nothing"])
    assert (outcome.failed, told.cells) == (2, [])
    outcome, told = do(strategy=["raises", "returns-nothing"], overwrite="failed")
    assert (outcome.failed, told.cells) == (2, ["raises", "returns-nothing"])
    assert records()["raises"].finished_at > before["raises"].finished_at
    monkeypatch.setenv("STRATEGIES_ARE_MENDED", "1")
    outcome, told = do(strategy=["raises"], overwrite="failed")
    assert (outcome.failed, told.cells) == (0, ["raises"])
    assert records()["raises"].status is Status.OK
    assert records()["finetune"] == before["finetune"]


def test_one_that_would_end_the_process_ends_its_cell(do):
    outcome, told = do(strategy=["exits", "does-nothing"])
    assert told.ends[1] == ("exits on toy-sentiment, seed 0", "failed", "SystemExit: 7")
    assert told.ends[2][1] == "ok"
    assert outcome.failed == 1


def test_a_cell_that_does_not_apply_is_a_row_with_its_reason_and_no_failure(do, records, tmp_path):
    outcome, told = do(task=["toy-tags"], strategy=["sentiment-only"])
    assert told.starts == ["finetune on toy-tags, seed 0", "latency of toy-tags"]
    assert outcome.failed == 0
    record = records()["sentiment-only"]
    why = "serves sequence-classification, not token-classification"
    assert (record.status, record.reason, record.quality) == (Status.NOT_APPLICABLE, why, None)
    table = pd.read_csv(tmp_path / "board" / "toy-tags.csv").set_index("strategy")
    assert (table.loc["sentiment-only", "status"], table.loc["sentiment-only", "reason"]) == (
        "not-applicable",
        why,
    )


def test_the_same_seed_gives_the_same_answers_to_the_last_digit_and_another_seed_others(do, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for results in (first, second):
        do(results=results, strategy=["vanilla-kd"], seeds=2)
    answers = {}
    for record in RecordStore(first).load()[0]:
        twin = RecordStore(second).get(record.key)
        assert twin.quality == record.quality
        both = [CellFiles(results, record.key).predictions.read_bytes() for results in (first, second)]
        assert both[0] == both[1]
        answers[record.strategy.label, record.seed] = both[0]
    assert len(answers) == 8
    assert len(set(answers.values())) == 8


def test_every_seed_is_recorded_and_one_model_a_row_kept(do, tmp_path):
    do(seeds=2)
    found, _ = RecordStore(tmp_path / "results").load()
    assert sorted((record.strategy.label, record.seed) for record in found) == [
        ("does-nothing", 0),
        ("does-nothing", 1),
        ("finetune", 0),
        ("finetune", 1),
    ]
    for record in found:
        files = CellFiles(tmp_path / "results", record.key)
        assert files.artifact.exists() == (record.seed == 0)
        assert len(Predictions.load(files.predictions)) == record.task.scored_examples


def test_an_interrupted_run_keeps_what_it_has_and_goes_on_from_there(do, records, tmp_path):
    def interrupt(name):
        if name.startswith("does-nothing"):
            raise KeyboardInterrupt

    outcome, told = do(Told(at_start=interrupt), strategy=["does-nothing", "sentiment-only"])
    assert (outcome.interrupted, outcome.unfinished, told.cells) == (True, 2, ["finetune"])
    assert pd.read_csv(tmp_path / "board" / "toy-sentiment.csv")["strategy"].tolist() == ["finetune"]
    before = records()
    outcome, told = do(strategy=["does-nothing", "sentiment-only"])
    assert (outcome.interrupted, outcome.unfinished) == (False, 0)
    assert told.cells == ["does-nothing", "sentiment-only"]
    assert records()["finetune"] == before["finetune"]


def test_a_cell_that_was_trained_but_not_scored_is_only_scored(done, do, records, tmp_path):
    key = records()["does-nothing"].key
    fit = CellFiles(tmp_path / "results", key).fit
    before = fit.stat().st_mtime_ns, records()["does-nothing"].quality
    RecordStore(tmp_path / "results").path(key).unlink()
    _, told = do()
    assert told.cells == ["does-nothing"]
    assert (fit.stat().st_mtime_ns, records()["does-nothing"].quality) == before


def test_what_a_run_that_was_cut_off_left_is_removed(do, tmp_path):
    for rest in ("records/a.json.1.kdbench-partial", "predictions/b.safetensors.1.kdbench-partial"):
        path = tmp_path / "results" / rest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "results" / "models" / "c.1.kdbench-partial" / "artifact").mkdir(parents=True)
    board = tmp_path / "board"
    board.mkdir(exist_ok=True)
    for name in ("README.md.11494.kdbench-partial", "the user's own.partial"):
        (board / name).touch()
    do()
    assert list((tmp_path / "results").rglob("*partial")) == []
    assert [path.name for path in board.glob("*partial")] == ["the user's own.partial"]


def test_a_foreign_file_among_the_records_is_named_and_left_alone(do, tmp_path):
    note = tmp_path / "results" / "records" / "note.txt"
    note.parent.mkdir(parents=True)
    note.write_text("mine")
    outcome, _ = do()
    assert outcome.failed == 0
    assert [str(note) in problem for problem in outcome.board.problems] == [True]
    assert note.read_text() == "mine"


def test_a_broken_record_of_a_cell_is_replaced(done, do, records, tmp_path):
    before = records()["does-nothing"]
    path = RecordStore(tmp_path / "results").path(before.key)
    path.write_text(path.read_text()[:50])
    _, told = do()
    assert told.cells == ["does-nothing"]
    assert records()["does-nothing"].quality == before.quality


def test_where_a_teacher_cannot_be_trained_those_that_need_it_say_so_and_the_others_run(do, records):
    with pytest.MonkeyPatch.context() as patch:
        # A rate at which training diverges, for the teacher alone.
        patch.setattr("kdbench.training.teacher.FINE_TUNING_RATES", dict.fromkeys(TaskKind, 1e20))
        outcome, _ = do(strategy=["vanilla-kd[init=base]", "lora"])
    found = records()
    assert found["finetune"].status is Status.FAILED
    assert "lower the learning rate" in found["finetune"].reason
    assert found["vanilla-kd[init=base]"].reason == f"its teacher failed: {found['finetune'].reason}"
    assert found["lora"].status is Status.OK
    assert outcome.failed == 2


def test_a_plugin_that_observes_badly_is_named_and_does_no_harm(done):
    outcome, told = done
    assert outcome.failed == 0
    assert any("saw finetune" in line and "sentiment_only.py" in line for line in told.remarks)


def test_two_runs_do_not_share_a_results_folder(do, tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    with FileLock(results / "run.lock"), pytest.raises(UsageError, match="in use by another run") as caught:
        do()
    assert "--results" in str(caught.value)
    assert [path.name for path in results.iterdir()] == ["run.lock"]
    outcome, _ = do()
    assert outcome.plan.count(State.PENDING) == 2


def test_a_board_that_cannot_be_written_is_told_and_the_records_stay(do, records, tmp_path):
    (tmp_path / "board").write_text("a file, not a folder")
    with pytest.raises(KdbenchError, match="--board"):
        do()
    assert set(records()) == {"finetune"}
    outcome, told = do(board=tmp_path / "elsewhere")
    assert told.cells == ["does-nothing"]
    assert outcome.board.written[0].parent == tmp_path / "elsewhere"
