"""Ctrl-C and its like: the run ends at once, keeps what it has, and says how to go on."""

import re
import signal
from pathlib import Path

import failing_plugin
import pandas as pd
import pytest
from commands import Command, comes_true


@pytest.fixture(scope="module")
def command(tmp_path_factory, tiny_model, toy_plugin, cache_dir):
    """A run whose second cell hangs."""
    plugins = [toy_plugin, Path(failing_plugin.__file__)]
    folder = tmp_path_factory.mktemp("interrupted")
    command = Command(folder, model=tiny_model, plugins=plugins, cache=cache_dir)
    command.settings += ["--task", "toy-sentiment", "--strategy", "hangs"]
    return command


@pytest.fixture
def hanging(command, tmp_path):
    """The run, now that its second cell hangs."""
    marker = tmp_path / "hanging"
    run = command.start(HANGING_HERE=str(marker))
    run.wait_until(marker.exists)
    yield run
    if not run.is_over():
        run.signal(signal.SIGKILL, group=True)


def ended_well_enough(command, run):
    """Check what every interrupted run leaves and says."""
    code, output = run.end()
    assert code == 130
    assert "Traceback" not in output
    last = output.splitlines()[-1]
    assert re.fullmatch(r"kdbench: interrupted with 1 cells? to go; the same command goes on from here", last)
    assert pd.read_csv(command.board / "toy-sentiment.csv")["strategy"].tolist() == ["finetune"]
    assert comes_true(lambda: not command.processes())
    assert {strategy for strategy, _, _ in command.records()} == {"finetune"}


@pytest.mark.parametrize("group", [True, False], ids=["to everyone in the terminal", "to the run alone"])
def test_ctrl_c_ends_the_run_and_its_processes_and_says_how_to_go_on(command, hanging, group):
    hanging.signal(signal.SIGINT, group=group)
    ended_well_enough(command, hanging)


def test_a_second_run_is_refused_meanwhile_and_sigterm_ends_the_first_as_ctrl_c_does(command, hanging):
    second = command.run()
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr == (
        f"kdbench: results folder {command.results} is in use by another run; wait for its end or name another by "
        "--results\n"
    )
    assert not hanging.is_over()
    hanging.signal(signal.SIGTERM)
    ended_well_enough(command, hanging)


def test_ctrl_c_while_the_server_of_processes_loads_its_libraries_is_as_quiet(command):
    run = command.start()
    run.wait_until(lambda: len(command.processes()) == 3)  # the run, the server, Python's resource tracker
    run.signal(signal.SIGINT, group=True)
    code, output = run.end()
    assert code == 130
    assert "Traceback" not in output
    assert output.splitlines()[-1].startswith("kdbench: interrupted with 1 cell")
    assert comes_true(lambda: not command.processes())


def test_ctrl_c_while_the_plan_is_made_is_told_in_a_line(command):
    results = command.folder / "other-results"
    run = command.start("--results", results)
    run.wait_until((results / "run.lock").exists)
    run.signal(signal.SIGINT, group=True)
    code, output = run.end()
    assert code == 130
    assert "Traceback" not in output
    assert output.splitlines()[-1].startswith("kdbench: interrupted")
    assert [path.name for path in results.iterdir()] == ["run.lock"]
