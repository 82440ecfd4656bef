"""`kdbench run --labels` as a user calls it, and what other commands make of what it leaves."""

import json
import shutil
import signal
import sys
from collections import Counter
from contextlib import redirect_stdout
from io import StringIO

import pandas as pd
import pytest

from kdbench.cli.main import main
from kdbench.results.records import RecordStore

STUDENT = "vanilla-kd[transfer=unlabelled]"
LABELS = ("--labels", "all,8")


@pytest.fixture(scope="module")
def settings(tiny_model, toy_plugin):
    """The flags that all commands share."""
    return [
        *("--budget", "smoke", "--task", "toy-sentiment", "--strategy", STUDENT, "--no-drawings"),
        *(
            "--model",
            str(tiny_model),
            "--plugin",
            str(toy_plugin),
            "--executor",
            "inline",
            "--board",
            "board",
        ),
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory, settings, cache_dir):
    """The folder of a run at two label counts, and what the run printed."""
    folder, printed = tmp_path_factory.mktemp("labels"), StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setenv("KDBENCH_CACHE", str(cache_dir))
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["kdbench", "run", *settings, *LABELS])
        with pytest.raises(SystemExit) as ended:
            main()
    signal.signal(signal.SIGTERM, handler)
    assert not ended.value.code
    return folder, printed.getvalue()


@pytest.fixture
def folder(made, tmp_path, cache_dir, monkeypatch):
    """A copy of that folder, as the current one."""
    monkeypatch.setenv("KDBENCH_CACHE", str(cache_dir))
    monkeypatch.chdir(shutil.copytree(made[0], tmp_path / "copy"))
    return tmp_path / "copy"


def records_in(folder):
    return RecordStore(folder / "results").load()[0]


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.slow
def test_each_count_trains_on_so_many_labels_and_the_whole_budget_is_that_of_a_plain_run(
    made, call, folder, settings
):
    assert "8 train / 8 validation" in made[1]
    records = records_in(folder)
    assert Counter(record.budget.name for record in records) == {"smoke": 4, "smoke@8": 4}
    for record in records:
        labels = record.budget.labels
        assert (record.task.train_examples, record.task.validation_examples) == (labels or 64, labels or 16)
        assert record.cost.steps == 6
        assert (record.cost.unlabelled_examples > 0) == (record.strategy.label == STUDENT)
    # A teacher has seen the labels of its count only; nothing is timed or kept at a smaller count.
    assert len(list((folder / "results" / "teachers").glob("*/training.json"))) == 2
    kept = {path.name for path in (folder / "results" / "models").iterdir() if path.is_dir()}
    assert kept == {record.key for record in records if record.budget.labels is None}
    assert "4 cells: 4 done" in call("plan", *settings)[1]


@pytest.mark.slow
def test_the_plan_lists_the_cells_of_each_count(call, folder, settings):
    _, out, _ = call("plan", *settings, *LABELS)
    assert out.endswith(
        "label count 8: 4 cells: 4 done\nlabel count all: 4 cells: 4 done\n2 label counts, 8 cells\n"
    )
    parts = json.loads(call("plan", *settings, *LABELS, "--json")[1])["labels"]
    assert [(part["count"], len(part["cells"])) for part in parts] == [(8, 4), ("all", 4)]


@pytest.mark.slow
def test_the_board_compares_the_counts_and_is_drawn_again_from_records(call, folder, settings):
    board = folder / "board"
    assert "[Label counts](labels.md)" in (board / "README.md").read_text()
    page = (board / "labels.md").read_text()
    assert "| 8 | 8 | 16 | 6 x 8 | 6 |" in page
    assert "| 64 | 16 | 80 | 6 x 8 | 0.75 |" in page
    scores = pd.read_csv(board / "labels.csv").set_index(["strategy", "labels"])["score"]
    recorded = {
        (record.strategy.label, record.task.train_examples): record.quality.score
        for record in records_in(folder)
    }
    assert scores.to_dict() == pytest.approx(recorded)
    assert len(pd.read_csv(board / "crossings.csv")) == 5  # three rows with the teacher, two controls
    assert "Budget smoke@8." in (board / "labels" / "8" / "toy-sentiment.md").read_text()
    drawn = files_of(board)
    assert call("board", *settings)[0] == 0
    assert files_of(board) == drawn
    assert call("board", *settings, "--from", "board", "--board", "few", "--labels", "8")[0] == 0
    assert set(files_of(folder / "few")) == {"labels.md", "labels.csv", "crossings.csv"}


@pytest.mark.slow
def test_other_commands_read_folders_with_several_counts(call, folder, settings):
    plugin = settings[settings.index("--plugin") : settings.index("--plugin") + 2]
    assert "No problem found." in call("verify", "results", *plugin)[1]
    code, _, err = call(
        "compare", STUDENT, "hard-labels", *settings, "--budget", "smoke@8", "--examples", "0"
    )
    assert (code, err) == (0, "")
    assert call("publish", *settings, "--out", "site")[0] == 0
    assert (folder / "site" / "labels.csv").read_bytes() == (folder / "board" / "labels.csv").read_bytes()
    assert "No problem found." in call("verify", "site", *plugin)[1]
    assert call("board", *settings, "--diff", "site", "--fail-on-regression")[0] == 0
