"""`kdbench new` writes distributions that are installed, pass their tests and `kdbench check`, and are read at a glance."""

import json
import os
import subprocess
import sys

import pytest
import tomllib

from kdbench.authoring.new import PARTS, write_plugin
from kdbench.errors import UsageError
from kdbench.plugins import load_plugins
from kdbench.testing.laboratory import Laboratory
from kdbench.testing.strategy_checks import cases_of
from kdbench.testing.subjects import of_strategy
from tests.third_party import install

TRAINED = ("strategy", "joint")
"""The parts whose own tests train many models; the test of a transform is written from the same template."""
RUN = [part for part in PARTS if part not in TRAINED]


@pytest.fixture(scope="module")
def registry():
    return load_plugins()


@pytest.fixture(scope="module")
def written(tmp_path_factory, registry):
    folder = tmp_path_factory.mktemp("new")
    return {part: write_plugin(part, f"new-{part}", folder, registry) for part in PARTS}


@pytest.mark.parametrize("part", PARTS)
def test_it_writes_four_files_and_a_short_module(written, part):
    module = f"kdbench_new_{part}"
    assert sorted(path.name for path in written[part].iterdir()) == [
        "README.md",
        f"{module}.py",
        "pyproject.toml",
        f"test_{module}.py",
    ]
    lines = (written[part] / f"{module}.py").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) < 40
    assert not [
        line for path in written[part].iterdir() for line in path.read_text().splitlines() if "$new" in line
    ]
    project = tomllib.loads((written[part] / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["entry-points"]["kdbench"] == {f"new-{part}": module}


@pytest.mark.slow
def test_what_is_written_is_registered_and_passes_its_tests_and_the_checks(written, tmp_path):
    installed = install(tmp_path, *written.values())
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}

    def run(*arguments):
        return subprocess.run(
            [sys.executable, *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True
        )

    tests = [str(path) for part in RUN for path in written[part].glob("test_*.py")]
    ended = run("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    assert ended.returncode == 0, ended.stdout
    ended = run("-m", "kdbench", "check", "--json", "kdbench-new-kind")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [report["subject"] for report in json.loads(ended.stdout)] == [
        "plugin new-kind",
        "kind new-kind",
        "metric new-kind-closeness",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("part", TRAINED)
def test_what_trains_passes_the_checks_on_one_architecture(written, part):
    registry = load_plugins([str(written[part] / f"kdbench_new_{part}.py")])
    strategy = registry.strategies[f"new-{part}"].item
    cases = list(cases_of(strategy, ["bert"]))[:1]
    assert of_strategy(strategy, Laboratory(registry), cases).run().failures == ()


@pytest.mark.parametrize(
    ("part", "name", "message"),
    [
        ("strategies", "mine", "cannot write a new 'strategies' (did you mean 'strategy'?)"),
        ("strategy", "My Idea", "'My Idea' is no name for a plugin"),
        ("strategy", "../mine", "'../mine' is no name for a plugin"),
        ("strategy", "2nd", "'2nd' is no name for a plugin"),
        ("strategy", "lora", "the name 'lora' is taken by kdbench"),
        ("metric", "accuracy", "the name 'accuracy' is taken by kdbench"),
        ("task", "sst2", "the name 'sst2' is taken by kdbench"),
        ("transform", "transform", "would be called Transform, which has a meaning"),
        ("task", "none", "would be called None, which has a meaning"),
    ],
)
def test_a_wrong_name_is_refused_and_nothing_is_written(registry, tmp_path, part, name, message):
    with pytest.raises(UsageError) as error:
        write_plugin(part, name, tmp_path, registry)
    assert str(error.value).startswith(message) or message in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_left_as_it_is(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kdbench-mine").mkdir()
    (tmp_path / "kdbench-mine" / "notes.txt").write_text("mine")
    code, _, errors = call("new", "strategy", "mine")
    assert code == 2
    assert errors == "kdbench: kdbench-mine exists; choose another name, or remove it first\n"
    assert [path.name for path in (tmp_path / "kdbench-mine").iterdir()] == ["notes.txt"]


def test_the_help_is_there_without_torch():
    program = (
        "import sys; from kdbench.cli.main import cli\n"
        "for words in (['--help'], ['new', '--help'], ['check', '--help']):\n"
        "    cli.main(args=words, standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 0
    assert "strategy|transform|joint|task|metric|kind" in ended.stdout
