"""Ctrl-C and its like: the run ends at once, keeps what it has, and says how to go on."""

import re
import signal
from pathlib import Path

import helpers.failing_plugin
import pandas as pd
import pytest
from helpers.commands import Command, comes_true

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def new_command(tmp_path_factory, tiny_model, toy_plugin, cache_dir):
    """Make a command whose second cell hangs; what it left running is ended after the tests."""
    made = []

    def make():
        folder = tmp_path_factory.mktemp("interrupted")
        plugins = [toy_plugin, Path(helpers.failing_plugin.__file__)]
        command = Command(folder, model=tiny_model, plugins=plugins, cache=cache_dir)
        command.settings += ["--task", "toy-sentiment", "--strategy", "hangs"]
        made.append(command)
        return command

    yield make
    for command in made:
        command.kill()


@pytest.fixture(scope="module")
def hanging(new_command):
    """Three such commands, started together, and the run of each, whose second cell hangs by now."""
    commands = [new_command() for _ in range(3)]
    runs = [command.start(HANGING_HERE=str(command.folder / "hanging")) for command in commands]
    for command, run in zip(commands, runs, strict=True):
        run.wait_until((command.folder / "hanging").exists)
    return list(zip(commands, runs, strict=True))


def ended_as_it_should(command, run):
    """Check what every interrupted run leaves and says."""
    code, output = run.end()
    assert code == 130
    assert "Traceback" not in output
    assert re.fullmatch(
        r"kdbench: interrupted with 1 cells? to go; run the same command again to resume",
        output.splitlines()[-1],
    )
    assert pd.read_csv(command.board / "toy-sentiment.csv")["strategy"].tolist() == ["finetune"]
    assert {strategy for strategy, _, _ in command.records()} == {"finetune"}
    assert comes_true(lambda: not command.processes())


def test_a_second_run_in_the_same_folder_is_refused(hanging, call, monkeypatch):
    command, _ = hanging[0]
    monkeypatch.setenv("KDBENCH_CACHE", command.environment["KDBENCH_CACHE"])
    assert call(*command.line("run")[3:]) == (
        2,
        "",
        f"kdbench: results folder {command.results} is in use by another run; wait until it ends or name another "
        "with --results\n",
    )


@pytest.mark.parametrize(
    ("which", "number", "group"),
    [(0, signal.SIGINT, True), (1, signal.SIGINT, False), (2, signal.SIGTERM, False)],
    ids=["Ctrl-C in the terminal", "SIGINT to the run alone", "SIGTERM"],
)
def test_the_run_and_its_processes_end_and_it_says_how_to_go_on(hanging, which, number, group):
    command, run = hanging[which]
    run.signal(number, group=group)
    ended_as_it_should(command, run)


def test_ctrl_c_while_libraries_load_or_the_plan_is_made_is_as_quiet(new_command):
    planning, loading = new_command(), new_command()
    runs = [planning.start(), loading.start()]
    runs[0].wait_until((planning.results / "run.lock").exists)
    runs[0].signal(signal.SIGINT, group=True)
    # The run, Python's resource tracker, and the server that loads libraries for the cells to come.
    runs[1].wait_until(lambda: len(loading.processes()) == 3)
    runs[1].signal(signal.SIGINT, group=True)
    for command, run in zip((planning, loading), runs, strict=True):
        code, output = run.end()
        assert code == 130
        assert "Traceback" not in output
        assert output.splitlines()[-1].startswith("kdbench: interrupted")
        assert command.records() == {}
        assert comes_true(lambda command=command: not command.processes())
