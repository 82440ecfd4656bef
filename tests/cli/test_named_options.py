"""Options that messages name: each is one that the user has."""

import ast
import re
from pathlib import Path

import click
import pytest
import tomlkit

import kdbench
from kdbench.cli.main import cli
from kdbench.export.predict import Dialect, _read

ROOT = Path(kdbench.__file__).parents[1]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
OF_OTHERS = {
    "kdbench/cli/authors.py": "pip",
    "kdbench/data/fetch.py": "pip",
    "kdbench/share/git.py": "git",
    "kdbench/measure/environment.py": "git, nvidia-smi",
}
"""Files that call other programs."""


def options_of(command):
    return {name for item in command.params for name in (*item.opts, *item.secondary_opts)}


def named(path):
    """Yield each option in the strings of a file, docstrings left out, with its line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            for option in OPTION.findall(node.value):
                yield option, node.lineno


def files():
    folders = [ROOT / name for name in ("kdbench", "plugins", "tasks")]
    return [path for folder in folders for path in sorted(folder.rglob("*.py"))]


def test_every_option_that_a_message_names_exists():
    known = {"--debug", "--help"}.union(*map(options_of, cli.commands.values()))
    found = [
        (f"{path.relative_to(ROOT)}, line {line}", option)
        for path in files()
        if str(path.relative_to(ROOT)) not in OF_OTHERS
        for option, line in named(path)
    ]
    assert {"--delimiter", "--task-name", "--class"} <= {option for _, option in found}
    assert [place for place in found if place[1] not in known] == []


SETTINGS = ("run", "plan", "tune", "export", "config")
"""The commands that read tasks from the user's files."""


@pytest.mark.parametrize(
    ("folder", "commands"),
    [
        ("kdbench/data", SETTINGS),
        ("kdbench/models", SETTINGS),
        ("kdbench/run", SETTINGS),
        ("kdbench/training", SETTINGS),
        ("plugins", SETTINGS),
        ("tasks", SETTINGS),
        ("kdbench/data/readers.py", ("predict",)),
    ],
)
def test_it_is_an_option_of_the_command_that_prints_the_message(folder, commands):
    place = ROOT / folder
    paths = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    found = {
        option for path in paths if str(path.relative_to(ROOT)) not in OF_OTHERS for option, _ in named(path)
    }
    for name in commands:
        command = cli.commands[name]
        assert isinstance(command, click.Command)
        assert found - {"--debug"} <= options_of(command), name


def test_a_file_without_a_config_has_flags_for_what_messages_ask_for(call, tmp_path):
    source = tmp_path / "sst2.csv"
    source.write_text("text;label\ngood;1.0\n")
    task = ["--task-file", source, "--task-name", "mine", "--class", "0.0", "--class", "1.0"]
    code, out, _ = call("config", *task, "--delimiter", "tab", "--no-quotes")
    assert code == 0
    table = tomlkit.parse(out)["tasks"]["mine"]
    assert (table["labels"], table["delimiter"], table["quotes"]) == (["0.0", "1.0"], "\t", False)
    for flags in (["--no-quotes"], ["--task-name", "mine"], ["--class", "x"]):
        code, _, told = call("config", *flags)
        assert (code, told.count("\n")) == (2, 1)
        assert "describes a task file; name the file with --task-file" in told
    code, _, told = call("config", *task, "--delimiter", "::")
    assert (code, told.count("\n")) == (2, 1)
    assert "the delimiter '::' is not one character" in told


def test_a_name_that_a_built_in_task_has_is_refused_with_the_flag_for_another(call, tmp_path):
    source = tmp_path / "sst2.csv"
    source.write_text("text,label\ngood,1\n")
    code, _, told = call("plan", "--task-file", source)
    assert code == 2
    assert "kdbench has a task 'sst2'; choose another name (--task-name beside --task-file)" in told


def test_predict_reads_another_delimiter(tmp_path):
    source = tmp_path / "a.csv"
    source.write_text('id;text\n1;"a\n')
    rows = _read(source, ("text",), Dialect(";", quoted=False))
    assert rows == [(f"{source}, line 2", {"id": "1", "text": '"a'})]
