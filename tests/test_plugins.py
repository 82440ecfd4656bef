"""Discovery: what is sound is taken in, what is broken is named, and nothing breaks anything else."""

import json
import os
import pickle
import random
import subprocess
import sys
from textwrap import dedent

import pytest
from third_party import DISTRIBUTIONS, install

from kdbench.plugins import load_plugins

SOUND = """
from kdbench import Strategy, hookimpl

class Sound(Strategy):
    name = "sound"
    title = "A sound strategy"
    citation = "Nobody 2026"

    def fit(self, bench):
        return bench.train(bench.base())
"""
LISTINGS = """
import json
import os
from kdbench.cli.description import listing
from kdbench.plugins import load_plugins

registry = load_plugins()
print(json.dumps({what: listing(registry, what) for what in ("strategies", "tasks", "plugins")}))
"""


def run_python(code, folder, *paths):
    """Run `code` in a fresh interpreter that finds `paths`, and return what it prints."""
    environment = {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "OMP_NUM_THREADS": "1",
        "PATH": "/usr/bin:/bin",
    }
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture(scope="module")
def listings(tmp_path_factory):
    """What kdbench lists where all distributions of `third_party` are installed."""
    folder = tmp_path_factory.mktemp("third-party")
    return json.loads(run_python(LISTINGS, folder, install(folder, *DISTRIBUTIONS)))


@pytest.fixture
def load(tmp_path):
    """Load one plugin from its source, and return the registry and what is known of the plugin."""

    def load_source(source, name="plugin.py"):
        path = tmp_path / name
        path.write_text(dedent(source), encoding="utf-8")
        registry = load_plugins([str(path)])
        return registry, registry.plugins[-1]

    return load_source


@pytest.mark.slow
def test_an_installed_distribution_brings_its_strategy_and_task(listings):
    strategies = {row["name"]: row for row in listings["strategies"]}
    tasks = {row["name"]: row for row in listings["tasks"]}
    assert (strategies["mean-pool"]["distribution"], strategies["mean-pool"]["version"]) == (
        "kdbench-mean-pool",
        "0.3.1",
    )
    assert tasks["support-tickets"]["labels"] == ["billing", "outage"]


@pytest.mark.slow
def test_every_plugin_is_listed_kdbench_first_then_by_distribution(listings):
    order = list(dict.fromkeys(row["distribution"] for row in listings["plugins"]))
    assert order == ["kdbench", *DISTRIBUTIONS]
    (mean_pool,) = (row for row in listings["plugins"] if row["distribution"] == "kdbench-mean-pool")
    assert mean_pool == {
        "name": "mean-pool",
        "distribution": "kdbench-mean-pool",
        "version": "0.3.1",
        "strategies": ["mean-pool"],
        "tasks": ["support-tickets"],
        "kinds": [],
        "metrics": [],
        "hooks": ["kdbench_board_columns"],
        "error": None,
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("distribution", "plugin", "version", "error"),
    [
        ("kdbench-raises-at-import", "raises", "1.0", "RuntimeError: the licence file is missing ("),
        ("kdbench-misspelled-hook", "misspelled", "1.1", "kdbench_cell_finish is not a hook of kdbench (did you mean "),
        ("kdbench-taken-name", "taken", "1.2", "the name 'mean-pool' is taken by kdbench-mean-pool 0.3.1"),
        ("kdbench-no-strategy", "no-strategy", "1.3", "<class 'kdbench_no_strategy.Recipe'> is not a Strategy"),
    ],
)  # fmt: skip
def test_a_broken_distribution_is_listed_with_its_error(listings, distribution, plugin, version, error):
    (row,) = (row for row in listings["plugins"] if row["distribution"] == distribution)
    assert (row["name"], row["version"]) == (plugin, version)
    assert row["error"].startswith(error)
    assert "\n" not in row["error"]


@pytest.mark.slow
def test_the_sound_strategy_of_a_partly_broken_distribution_is_kept(listings):
    names = [row["name"] for row in listings["strategies"]]
    assert names.count("mean-pool") == 1
    assert "long-finetune" in names


@pytest.mark.slow
def test_an_import_error_names_file_and_line(listings):
    (row,) = (row for row in listings["plugins"] if row["name"] == "raises")
    assert row["error"].endswith("kdbench_raises_at_import.py, line 3)")


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("raise SystemExit(3)", "SystemExit: 3 (PLUGIN, line 1)"),
        ("x = 1\nimport nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found' (PLUGIN, line 2)"),
        ("def f(:\n  pass", "SyntaxError: invalid syntax (plugin.py, line 1)"),
        ("x = 1", "implements no hook of kdbench"),
        ("def kdbench_tasks():\n  return []", "kdbench_tasks lacks its decorator; write @hookimpl above it"),
    ],
)  # fmt: skip
def test_a_plugin_that_cannot_be_loaded_is_told_in_one_line(load, tmp_path, source, error):
    registry, info = load(source)
    assert info.error == error.replace("PLUGIN", str(tmp_path / "plugin.py"))
    assert registry.problems[-1] == f"plugin '{tmp_path / 'plugin.py'}' of (module): {info.error}"


@pytest.mark.parametrize(
    ("hook", "error"),
    [
        ("@hookimpl\ndef kdbench_cell_finished(record, cell): pass",
         "kdbench_cell_finished(record, cell) has arguments that the hook does not pass; it passes (record)"),
        ("@hookimpl(wrapper=True)\ndef kdbench_cell_finished(record): yield",
         "kdbench_cell_finished is a hook wrapper, which kdbench does not support; write a plain hook"),
        ("@hookimpl\ndef kdbench_tasks(): return 1 / 0",
         "kdbench_tasks: ZeroDivisionError: division by zero (PLUGIN, line "),
        ("@hookimpl\ndef kdbench_tasks(): raise SystemExit(1)", "kdbench_tasks: SystemExit: 1 (PLUGIN, line "),
        ("@hookimpl\ndef kdbench_tasks(): return None", "kdbench_tasks: returned None, not a list"),
        ("@hookimpl\ndef kdbench_tasks(): return 'sst2'", "kdbench_tasks: returned 'sst2', not a list"),
        ("@hookimpl\ndef kdbench_tasks(): return [Sound]", "<class 'kdbench_file_plugin_"),
        ("@hookimpl(specname='kdbench_taks')\ndef tasks(): return []",
         "kdbench_taks is not a hook of kdbench (did you mean 'kdbench_tasks'?)"),
    ],
)  # fmt: skip
def test_a_bad_hook_is_told_and_the_plugins_good_hooks_count(load, tmp_path, hook, error):
    source = f"{SOUND}\n@hookimpl\ndef kdbench_strategies(): return [Sound]\n{hook}\n"
    registry, info = load(source)
    assert info.error.startswith(error.replace("PLUGIN", str(tmp_path / "plugin.py")))
    assert info.strategies == ["sound"]
    assert registry.strategies["sound"].distribution == "(module)"


def test_what_a_hook_yields_before_it_raises_is_kept(load):
    source = f"{SOUND}\n@hookimpl\ndef kdbench_strategies():\n    yield Sound\n    raise OSError('no disk')\n"
    registry, info = load(source)
    assert "sound" in registry.strategies
    assert info.error.startswith("kdbench_strategies: OSError: no disk (")


def test_hooks_may_stand_under_another_name_or_on_an_object(load):
    registry, info = load(
        f"{SOUND}\n@hookimpl(specname='kdbench_strategies')\ndef ours():\n    return iter([Sound])\n"
    )
    assert info.error is None
    assert registry.strategy(registry.match_strategies(["sound"])[0]).title == "A sound strategy"


def test_a_module_named_twice_is_loaded_once(tmp_path):
    path = tmp_path / "plugin.py"
    path.write_text(f"{SOUND}\n@hookimpl\ndef kdbench_strategies(): return [Sound]\n")
    registry = load_plugins([str(path), str(path)])
    assert [info.strategies for info in registry.plugins].count(["sound"]) == 1
    assert registry.plugins[-1].error is None


def test_files_of_one_name_in_two_folders_are_two_plugins(tmp_path):
    for folder, name in (("one", "first"), ("two", "second")):
        (tmp_path / folder).mkdir()
        source = (
            SOUND.replace('"sound"', f'"{name}"') + "\n@hookimpl\ndef kdbench_strategies(): return [Sound]\n"
        )
        (tmp_path / folder / "random.py").write_text(source)
    registry = load_plugins([str(tmp_path / "one" / "random.py"), str(tmp_path / "two" / "random.py")])
    assert {"first", "second"} <= set(registry.strategies)
    assert hasattr(random, "randint")


@pytest.mark.parametrize(
    ("module", "error"),
    [
        (
            "kdbench_nowhere",
            "there is no module 'kdbench_nowhere'; put its folder on PYTHONPATH, or name the .py file",
        ),
        (
            "kdbench.nowhere",
            "there is no module 'kdbench.nowhere'; put its folder on PYTHONPATH, or name the .py file",
        ),
        ("/nowhere/plugin.py", "there is no file /nowhere/plugin.py"),
        ("./plugin", "'./plugin' is neither a dotted module name nor the path of a .py file"),
    ],
)
def test_a_named_plugin_that_is_not_there_is_told_with_the_remedy(module, error):
    info = load_plugins([module]).plugins[-1]
    assert (info.name, info.distribution, info.error) == (module, "(module)", error)


@pytest.mark.slow
def test_a_class_from_a_file_is_found_again_in_a_process_that_loads_the_same_modules(tmp_path):
    path = tmp_path / "plugin.py"
    path.write_text(f"{SOUND}\n@hookimpl\ndef kdbench_strategies(): return [Sound]\n")
    registry = load_plugins([str(path)])
    pickled = pickle.dumps(registry.strategies["sound"].item)
    code = f"import pickle; from kdbench.plugins import load_plugins; load_plugins([{str(path)!r}]); "
    assert run_python(code + f"print(pickle.loads({pickled!r}).title)", tmp_path) == "A sound strategy\n"


def test_discovery_itself_loads_no_torch(tmp_path):
    code = "import sys, kdbench.plugins, kdbench.cli.description; print(*({'torch', 'pandas', 'datasets'} & set(sys.modules)))"
    assert run_python(code, tmp_path).strip() == ""


def test_a_file_has_a_hash_of_its_source_for_a_version(tmp_path):
    """It has no version, but what it does may change."""
    path = tmp_path / "plugin.py"
    source = f"{SOUND}\n@hookimpl\ndef kdbench_strategies(): return [Sound]\n"

    def version_of(source):
        path.write_text(source)
        for name in [name for name in sys.modules if name.startswith("kdbench_file_plugin_")]:
            del sys.modules[name]
        return load_plugins([str(path)]).strategies["sound"].version

    assert version_of(source) == version_of(source) != version_of(f"{source}\n# changed")
