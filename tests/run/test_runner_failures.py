"""Cells that go wrong, in every way, in processes of their own: each is a row, and no other cell suffers."""

import re
from pathlib import Path

import helpers.failing_plugin
import pandas as pd
import pytest
from helpers.commands import Command, comes_true

pytestmark = pytest.mark.slow

ENDED = {
    "raises": ("failed", "ValueError: no luck <b>at all</b> | here", "in go_wrong"),
    "leaves-a-program": ("failed", "RuntimeError: the program runs on", "in go_wrong"),
    "exits": ("failed", "SystemExit: 7", "in go_wrong"),
    "exits-at-once": ("failed", "its process ended with exit code 7 and reported nothing", ""),
    "is-killed": (
        "failed",
        "its process was killed by SIGKILL, as the system does when memory runs out",
        "",
    ),
    "eats-memory": ("failed", "MemoryError", "in go_wrong"),
    "returns-nothing": (
        "failed",
        "returns-nothing's fit returned None, which is not a torch module",
        "Traceback",
    ),
    "cannot-be-saved": (
        "failed",
        "Linear cannot be deployed: it lacks save_pretrained or from_pretrained",
        "Traceback",
    ),
    "hangs": ("timeout", "took longer than 2 s", ""),
    "does-nothing": ("ok", None, ""),
    "finetune": ("ok", None, ""),
}


@pytest.fixture(scope="module")
def failed(tmp_path_factory, tiny_model, toy_plugin, cache_dir):
    """Two runs, the second with one strategy more, in which nearly everything goes wrong.

    The command, the records that the first run left, and how both ended.
    """
    folder = tmp_path_factory.mktemp("failed")
    plugins = [toy_plugin, Path(helpers.failing_plugin.__file__)]
    command = Command(folder, model=tiny_model, plugins=plugins, cache=cache_dir)
    command.settings += ["--task", "toy-sentiment", "--workers", "2"]
    first = command.run(*strategies(set(ENDED) - {"hangs"}))
    records = by_strategy(command)
    return command, records, first, command.run(*strategies(ENDED), "--timeout", "2")


def strategies(names):
    return [word for name in names for word in ("--strategy", name)]


def by_strategy(command):
    return {strategy: record for (strategy, _, _), record in command.records().items()}


def test_every_cell_ends_with_its_status_and_reason(failed):
    command, *_ = failed
    assert {name: (record.status.value, record.reason) for name, record in by_strategy(command).items()} == {
        name: (status, reason) for name, (status, reason, _) in ENDED.items()
    }


def test_a_further_run_does_only_what_is_missing(failed):
    command, records, _, second = failed
    assert second.stdout.startswith("11 cells (2 done, 8 failed before, 1 pending)\n")
    after = by_strategy(command)
    assert set(after) - set(records) == {"hangs"}
    assert {name: after[name] for name in records} == records


def test_the_exit_code_is_1_and_one_line_says_what_to_do(failed):
    command, _, *runs = failed
    for run, number in zip(runs, ("8 of 10", "9 of 11"), strict=True):
        assert run.returncode == 1
        assert run.stderr == (
            f"{number} cells have no result; the board gives the reasons, {command.results / 'logs'} has the logs, "
            "and --overwrite failed runs them again\n"
        )


def test_each_end_is_told_while_the_run_goes_on(failed):
    _, _, first, second = failed
    for name, (status, reason, _) in ENDED.items():
        told = second.stdout if name == "hangs" else first.stdout
        assert re.search(rf"\d/\d+ {status} {name} on toy-sentiment, seed 0: {re.escape(reason or '')}", told)


def test_the_board_has_a_row_for_each_with_its_reason(failed):
    command, *_ = failed
    table = pd.read_csv(command.board / "toy-sentiment.csv").set_index("strategy")
    page = (command.board / "toy-sentiment.md").read_text(encoding="utf-8")
    assert set(table.index) == set(ENDED)
    for name, (status, reason, _) in ENDED.items():
        assert table.loc[name, "status"] == status
        assert name in page
        if reason is not None:
            assert table.loc[name, "reason"] == reason
            assert pd.isna(table.loc[name, "score"])
    assert "<b>at all" not in page  # what a plugin says is text, never markup


def test_the_log_of_what_raised_holds_the_traceback(failed):
    command, *_ = failed
    for name, record in by_strategy(command).items():
        log = (command.results / "logs" / f"{record.key}.log").read_text()
        assert ENDED[name][2] in log


def test_what_went_wrong_leaves_neither_processes_nor_models(failed):
    command, records, *_ = failed
    assert comes_true(lambda: not command.processes())
    assert list(command.results.rglob("*.kdbench-partial")) == []
    kept = {path.name for path in (command.results / "models").iterdir() if path.suffix != ".lock"}
    assert kept == {records["finetune"].key, records["does-nothing"].key}


def test_a_strategy_that_trains_nothing_is_a_row_like_any_other(failed):
    _, records, *_ = failed
    assert records["does-nothing"].quality is not None
    assert records["does-nothing"].size.total_parameters == records["finetune"].size.total_parameters


def test_what_failed_is_run_again_when_that_is_asked_for_and_nothing_else(failed, call, monkeypatch):
    command, _, *_ = failed
    before = by_strategy(command)
    chosen = strategies(["raises", "hangs", "does-nothing"])
    how = ["--overwrite", "failed", "--executor", "inline"]
    monkeypatch.setenv("KDBENCH_CACHE", command.environment["KDBENCH_CACHE"])
    monkeypatch.setenv("STRATEGIES_ARE_MENDED", "1")
    code, out, err = call(*command.line("run", *chosen, *how)[3:])
    assert (code, err) == (0, "")
    assert out.startswith("4 cells (2 done, 2 pending)\n")
    after = by_strategy(command)
    assert (after["raises"].status.value, after["hangs"].status.value) == ("ok", "ok")
    assert {name for name in after if after[name] != before[name]} == {"raises", "hangs"}
