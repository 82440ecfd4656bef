"""The built-in strategies and tasks are plugins like anyone's: they import `kdbench`, and nothing within it."""

import ast
from pathlib import Path

import pytest

import kdbench

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    [*(ROOT / "plugins").glob("*.py"), *(ROOT / "tasks").glob("*.py"), *(ROOT / "examples").glob("*.py")]
)
OWN = ("kdbench_plugins", "kdbench_tasks")


def imported(path):
    """Yield what a module takes from kdbench: the module that it names, and the name there."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_built_in_imports_of_kdbench_what_is_exported_and_nothing_else(path):
    for module, name in imported(path):
        if module.startswith("kdbench") and not module.startswith(OWN):
            assert module == "kdbench"
            assert name in kdbench.__all__


def test_everything_that_is_exported_is_there():
    assert [name for name in kdbench.__all__ if getattr(kdbench, name, None) is None] == []
