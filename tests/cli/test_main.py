"""The command line: what it prints, what it writes, and how it refuses what cannot be."""

import json
import re
import shutil
import subprocess

import pandas as pd
import pytest
import tomlkit
from helpers.commands import Command


@pytest.fixture
def command(tmp_path, tiny_model, toy_plugin, cache_dir):
    return Command(tmp_path, model=tiny_model, plugins=[toy_plugin], cache=cache_dir)


@pytest.fixture
def call_here(call, command, monkeypatch, cache_dir):
    """Like `call`, with the settings of `command` after the verb."""
    monkeypatch.setenv("KDBENCH_CACHE", str(cache_dir))
    monkeypatch.chdir(command.folder)
    return lambda verb, *arguments: call(*command.line(verb, *arguments)[3:])


BAD_INPUT = {
    "strategy unknown": (["--strategy", "lorra"], ["'lorra'", "did you mean 'lora'?"]),
    "strategy far from any": (["--strategy", "xyz"], ["'xyz'", "known: ", "vanilla-kd"]),
    "glob without a hit": (["--strategy", "tiny-*"], ["'tiny-*'"]),
    "strategy empty": (["--strategy", ""], ["''", "name[parameter=value"]),
    "strategy malformed": (["--strategy", "lora[r=8"], ["'lora[r=8'", "name[parameter=value"]),
    "parameter unknown": (["--strategy", "lora[rang=8]"], ["'rang'", "'lora'", "it has: "]),
    "parameter of a wrong type": (["--strategy", "lora[r=eight]"], ["'lora'", "r must be", "got 'eight'"]),
    "parameter impossible": (["--strategy", "lora[r=0]"], ["r must be greater than or equal to 1", "got 0"]),
    "temperature impossible": (
        ["--strategy", "vanilla-kd[temperature=0]"],
        ["temperature", "greater than 0"],
    ),
    "task unknown": (["--task", "toy-sentimnet"], ["'toy-sentimnet'", "did you mean 'toy-sentiment'?"]),
    "task empty": (["--task", ""], ["task", "''"]),
    "budget unknown": (["--budget", "smok"], ["--budget", "'smok'", "did you mean 'smoke'?"]),
    "no seeds": (["--seeds", "0"], ["--seeds", "1", "0"]),
    "seeds in words": (["--seeds", "two"], ["--seeds", "'two'"]),
    "no time": (["--timeout", "-1"], ["--timeout", "greater than 0", "-1"]),
    "time in words": (["--timeout", "soon"], ["--timeout", "'soon'"]),
    "no workers": (["--workers", "0"], ["--workers", "1", "0"]),
    "no threads": (["--threads", "0"], ["--threads", "1", "0"]),
    "executor unknown": (["--executor", "cloud"], ["--executor", "'process' or 'inline'", "'cloud'"]),
    "overwrite unknown": (
        ["--overwrite", "maybe"],
        ["--overwrite", "'never', 'failed', 'outdated' or 'all'", "'maybe'"],
    ),
    "model missing": (["--model", "./gone"], ["--model ./gone", "no such folder"]),
    "model without config": (["--model", "bare"], ["bare", "no config.json", "save_pretrained"]),
    "model cut short": (["--model", "cut"], ["model.safetensors is damaged"]),
    "data folder missing": (["--data-dir", "gone"], ["--data-dir gone", "not a folder"]),
    "plugin missing": (["--plugin", "gone.py"], ["--plugin gone.py", "no file"]),
    "config missing": (["--config", "gone.toml"], ["config gone.toml", "cannot be read", "--config"]),
    "config empty": (["--config", "empty.toml"], ["config empty.toml", "is empty"]),
    "config no TOML": (["--config", "garbage.toml"], ["config garbage.toml, line 2"]),
    "config of an unknown key": (
        ["--config", "typo.toml"],
        ["typo.toml, line 3", "did you mean 'strategy'?"],
    ),
    "config a folder": (["--config", "."], ["cannot be read"]),
    "results a file": (["--results", "empty.toml"], ["empty.toml", "--results"]),
    "results not writable": (["--results", "/proc/kdbench"], ["/proc/kdbench", "--results"]),
    "flag unknown": (["--stratgy", "lora"], ["--stratgy", "--strategy"]),
    "value missing": (["--strategy"], ["--strategy"]),
    "word too many": (["lora"], ["lora"]),
}


@pytest.mark.parametrize(("arguments", "told"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_what_cannot_be_is_refused_in_one_line_and_nothing_is_written(
    call_here, command, tiny_model, arguments, told
):
    here = command.folder
    (here / "empty.toml").touch()
    (here / "garbage.toml").write_text('budget = "smoke"\n= 3\n')
    (here / "typo.toml").write_text('# settings\nbudget = "smoke"\nstratgy = ["lora"]\n')
    (here / "bare").mkdir()
    shutil.copytree(tiny_model, here / "cut")
    with (here / "cut" / "model.safetensors").open("r+b") as file:
        file.truncate(1000)
    if not {"--task", "--data-dir"} & set(arguments):
        arguments = ["--task", "toy-sentiment", *arguments]
    code, out, err = call_here("run", *arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"kdbench: [^\n]+\n", err), err
    for part in told:
        assert part in err
    assert {path.name for path in command.results.glob("*")} <= {"run.lock"}
    assert not command.board.exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rnu"], "'rnu'"),
        (["list", "stragegies"], "did you mean 'strategies'?"),
        (["describe", "lorra"], "did you mean 'lora'?"),
        (["describe"], "NAME"),
        (["board", "--results", "gone"], "no record"),
        (["plan", "--strategy", "lorra"], "did you mean 'lora'?"),
        (["config", "--seeds", "0"], "--seeds"),
    ],
)
def test_every_command_refuses_in_the_same_way(call, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"kdbench: [^\n]+\n", err), err
    assert told in err
    assert list(tmp_path.iterdir()) == []


def test_the_refusal_shows_its_traceback_on_demand(call_here):
    code, _, err = call_here("run", "--debug", "--strategy", "lorra")
    assert code == 2
    assert "Traceback (most recent call last)" in err
    assert err.splitlines()[-1].startswith("kdbench: ")


def test_without_a_command_the_commands_are_shown(call):
    for arguments in ([], ["--help"]):
        _, out, err = call(*arguments)
        assert "Usage: " in out + err
        assert all(re.search(rf"^  {verb} ", out + err, re.MULTILINE) for verb in ("run", "plan", "board"))


def test_the_version_is_that_of_the_installed_distribution(call):
    from importlib.metadata import version

    code, out, _ = call("--version")
    assert (code, version("kdbench") in out) == (0, True)


def test_every_setting_explains_itself(call):
    code, out, _ = call("run", "--help")
    assert code == 0
    for flag in ("--strategy", "--seeds", "--budget", "--model", "--data-dir", "--results", "--board"):
        assert flag in out
    for flag in ("--executor", "--workers", "--timeout", "--overwrite", "--plugin", "--config"):
        assert flag in out


def test_the_merged_settings_are_printed_as_a_file_that_gives_them_again(call, tmp_path):
    (tmp_path / "base.toml").write_text(
        'budget = "full"\nseeds = 2\nresults = "out"\n[grid.lora]\nr = [4, 8]\n'
    )
    given = ["--config", tmp_path / "base.toml", "--strategy", "lora[r=16,alpha=32]", "--budget", "standard"]
    given += ["--model", "org/[red]a[/b]:key:"]
    code, out, err = call("config", *given, "--plugin", "/plugins/mine.py")
    assert (code, err) == (0, "")
    settings = tomlkit.parse(out).unwrap()
    assert settings["strategy"] == ["lora[r=16,alpha=32]"]
    assert (settings["budget"], settings["seeds"]) == ("standard", 2)
    assert settings["results"] == str(tmp_path / "out")
    assert settings["plugins"]["modules"] == ["/plugins/mine.py"]
    assert settings["model"] == "org/[red]a[/b]:key:"  # neither markup nor emoji
    (tmp_path / "merged.toml").write_text(out)
    assert call("config", "--config", tmp_path / "merged.toml") == (0, out, "")


MATRIX = ["--strategy", "lora", "--task", "toy-s*", "--executor", "inline"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_model, toy_plugin, cache_dir):
    """A run of LoRA on two toy tasks, in a process of its own: the command and what it printed."""
    folder = tmp_path_factory.mktemp("finished")
    command = Command(folder, model=tiny_model, plugins=[toy_plugin], cache=cache_dir)
    command.settings += MATRIX
    return command, command.run()


@pytest.fixture
def planned(call_here, command):
    """The plan of such a run in an empty folder."""
    code, out, err = call_here("plan", "--json", *MATRIX)
    assert (code, err) == (0, "")
    return json.loads(out)


CELLS = {
    (strategy, task, 0)
    for strategy in ("finetune", "finetune[steps=budget]", "lora")
    for task in ("toy-score", "toy-sentiment")
}


@pytest.mark.slow
def test_a_plan_tells_every_cell_and_writes_nothing(planned, command):
    assert {(cell["strategy"], cell["task"], cell["seed"]) for cell in planned["cells"]} == CELLS
    assert {cell["state"] for cell in planned["cells"]} == {"pending"}
    assert planned["downloads"] == []
    assert planned["estimated_s"] > 0
    assert [path.name for path in command.folder.iterdir()] == ["scratch"]


@pytest.mark.slow
def test_a_run_does_what_was_planned_and_says_where_everything_is(finished, planned):
    command, ran = finished
    assert (ran.returncode, ran.stderr) == (0, "")
    records = command.records()
    assert set(records) == CELLS
    assert {record.status.value for record in records.values()} == {"ok"}
    assert {record.key for record in records.values()} == {cell["key"] for cell in planned["cells"]}
    lines = ran.stdout.splitlines()
    assert lines[0] == "6 cells (6 pending)"
    assert "added finetune: the teacher itself" in ran.stdout
    assert len([line for line in lines if re.match(r" *\d/6 ok ", line)]) == 6
    assert len([line for line in lines if line.startswith("ok latency of ")]) == 2
    assert f"Board: {command.board / 'README.md'}" in lines
    assert f"Records, models and logs: {command.results}" in lines
    assert "\x1b" not in ran.stdout  # no colours where the output is no terminal


@pytest.mark.slow
def test_the_board_stands_in_files_with_a_row_a_strategy(finished):
    command, *_ = finished
    assert {path.name for path in command.board.iterdir()} == {
        "README.md",
        "cells.csv",
        "cells.parquet",
        "curves.csv",
        "latency.csv",
        "overview.csv",
        "records.jsonl",
        "rows.parquet",
        *(f"toy-{name}.{kind}" for name in ("score", "sentiment") for kind in ("md", "csv")),
    }
    for (strategy, task, _), record in command.records().items():
        table = pd.read_csv(command.board / f"{task}.csv").set_index("strategy")
        assert table.loc[strategy, "status"] == "ok"
        assert table.loc[strategy, "score"] == record.quality.score
        assert table.loc[strategy, "total_parameters"] == record.size.total_parameters
        assert table.loc[strategy, "p50_ms"] > 0


@pytest.mark.slow
def test_only_the_task_s_teacher_is_called_so_and_lora_trains_a_part(finished):
    command, *_ = finished
    for (strategy, _, _), record in command.records().items():
        assert record.is_teacher == (strategy == "finetune")
        assert (record.size.trainable_parameters < record.size.total_parameters) == (strategy == "lora")


@pytest.mark.slow
def test_no_scratch_file_is_left(finished):
    command, *_ = finished
    assert list(command.scratch.iterdir()) == []
    assert list(command.folder.rglob("*.kdbench-partial")) == []


@pytest.mark.slow
def test_a_second_run_has_nothing_to_do_and_a_plan_knows(finished, call, monkeypatch):
    command, *_ = finished
    monkeypatch.setenv("KDBENCH_CACHE", command.environment["KDBENCH_CACHE"])

    def written():
        files = set(command.results.rglob("*.json")) - {
            command.results / "live.json"
        }  # it tells of the latest run
        return {path: path.stat().st_mtime_ns for path in files}

    before = written()
    code, out, err = call(*command.line("run")[3:])
    assert (code, err) == (0, "")
    assert out.startswith("6 cells (6 done)")
    assert written() == before
    code, out, err = call(*command.line("plan")[3:])
    assert (code, err) == (0, "")
    assert "6 cells: 6 done" in out
    assert out.count(" done") == 7
    assert "time: about 0 s" in out


@pytest.mark.slow
def test_the_board_is_drawn_again_from_the_records_alone(finished, call, tmp_path):
    command, *_ = finished
    again = tmp_path / "[red] :key: [/b]"  # any name will do
    arguments = ["--budget", "smoke", "--results", command.results, "--board", again, "--no-drawings"]
    code, out, err = call("board", *arguments, "--model", command.settings[3])
    assert (code, err) == (0, "")
    assert f"Board: {again / 'README.md'}" in out
    for path in command.board.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_an_output_that_takes_no_more_is_told_in_a_line(command):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command.line("config"),
            env=command.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert re.fullmatch(r"kdbench: [^\n]*No space left on device[^\n]*\n", done.stderr)
