"""Cells that go wrong, in every way, in processes of their own: each is a row, and no other cell suffers."""

import re
from pathlib import Path

import failing_plugin
import pandas as pd
import pytest
from commands import Command, comes_true

ENDED = {
    "raises": ("failed", "ValueError: no luck <b>at all</b> | here", "in go_wrong"),
    "leaves-a-program": ("failed", "RuntimeError: the program runs on", "in go_wrong"),
    "exits": ("failed", "SystemExit: 7", "in go_wrong"),
    "exits-at-once": ("failed", "its process ended with exit code 7 and said nothing", ""),
    "is-killed": (
        "failed",
        "its process was killed by SIGKILL, as the system does when memory runs out",
        "",
    ),
    "eats-memory": ("failed", "MemoryError", "in go_wrong"),
    "returns-nothing": (
        "failed",
        "returns-nothing's fit returned None, which is no torch module",
        "Traceback",
    ),
    "cannot-be-saved": (
        "failed",
        "Linear cannot be deployed: it lacks save_pretrained or from_pretrained",
        "Traceback",
    ),
    "hangs": ("timeout", "took longer than 40 s", ""),
    "does-nothing": ("ok", None, ""),
    "finetune": ("ok", None, ""),
}


@pytest.fixture(scope="module")
def failed(tmp_path_factory, tiny_model, toy_plugin, cache_dir):
    """A run in which nearly everything goes wrong: the command, what it printed, and the records."""
    folder = tmp_path_factory.mktemp("failed")
    plugins = [toy_plugin, Path(failing_plugin.__file__)]
    command = Command(folder, model=tiny_model, plugins=plugins, cache=cache_dir)
    command.settings += ["--task", "toy-sentiment", "--workers", "2", "--timeout", "40"]
    for name in ENDED:
        command.settings += ["--strategy", name]
    done = command.run()
    return command, done, {strategy: record for (strategy, _, _), record in command.records().items()}


def test_every_cell_ends_with_its_status_and_reason(failed):
    _, _, records = failed
    assert {name: (record.status.value, record.reason) for name, record in records.items()} == {
        name: (status, reason) for name, (status, reason, _) in ENDED.items()
    }


def test_the_exit_code_is_1_and_one_line_says_what_to_do(failed):
    command, done, _ = failed
    assert done.returncode == 1
    assert done.stderr == (
        f"9 of 11 cells have no result; the board says why, {command.results / 'logs'} holds the details, "
        "and --overwrite failed runs them again\n"
    )
    for name, (status, reason, _) in ENDED.items():
        assert re.search(rf"\d/11 {status} {name} on toy-sentiment, seed 0: {re.escape(reason or '')}", done.stdout)


def test_the_board_has_a_row_for_each_with_its_reason(failed):
    command, _, _ = failed
    table = pd.read_csv(command.board / "toy-sentiment.csv").set_index("strategy")
    page = (command.board / "toy-sentiment.md").read_text(encoding="utf-8")
    assert set(table.index) == set(ENDED)
    for name, (status, reason, _) in ENDED.items():
        assert table.loc[name, "status"] == status
        if reason is not None:
            assert table.loc[name, "reason"] == reason
            assert pd.isna(table.loc[name, "score"])
            assert name in page
    assert "<b>at all" not in page  # what a plugin says is text, never markup


def test_the_log_of_what_raised_holds_the_traceback(failed):
    command, _, records = failed
    for name, (_, _, logged) in ENDED.items():
        assert logged in (command.results / "logs" / f"{records[name].key}.log").read_text()


def test_what_went_wrong_leaves_neither_processes_nor_models(failed):
    command, _, records = failed
    assert comes_true(lambda: not command.processes())
    assert list(command.results.rglob("*.partial")) == []
    kept = {path.name for path in (command.results / "models").iterdir()}
    assert kept == {records["finetune"].key, records["does-nothing"].key}


def test_a_strategy_that_trains_nothing_is_a_row_like_any_other(failed):
    _, _, records = failed
    assert records["does-nothing"].quality is not None
    assert records["does-nothing"].size.total_parameters == records["finetune"].size.total_parameters


def test_nothing_is_run_again_unless_asked_and_then_only_what_failed(failed):
    """The second run has nothing to do; the third, the strategies mended, does what had failed."""
    command, _, records = failed
    again = command.run()
    assert again.returncode == 1
    assert "11 cells (2 done, 9 failed before)" in again.stdout
    assert "9 of 11 cells have no result" in again.stderr
    assert {strategy: record for (strategy, _, _), record in command.records().items()} == records
    mended = command.run("--overwrite", "failed", STRATEGIES_ARE_MENDED="1")
    assert (mended.returncode, mended.stderr) == (0, "")
    assert "11 cells (2 done, 9 pending)" in mended.stdout
    after = {strategy: record for (strategy, _, _), record in command.records().items()}
    assert {record.status.value for record in after.values()} == {"ok"}
    for name in ("finetune", "does-nothing"):
        assert after[name] == records[name]
