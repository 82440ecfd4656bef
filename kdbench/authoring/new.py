"""Write a new plugin as a distribution of its own: a module, its test, a pyproject.toml and a README, from templates."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from kdbench.errors import UsageError, nearest, shown
from kdbench.registry import Registered, Registry
from kdbench.utils.files import write_atomically

PARTS = ("strategy", "transform", "joint", "task", "metric", "kind")
"""What a new plugin may provide; each has a template of its module and of its test."""
_WORDS = {"joint": "joint strategy", "kind": "kind of task"}
"""What texts call a part, where that is not its own name."""
_TESTS = {"task": "test_task.py.in", "metric": "test_metric.py.in"}
"""The templates of tests with more than the checks."""
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def write_plugin(part: str, name: str, folder: Path, registry: Registry) -> Path:
    """Write a distribution that provides one `part` called `name` into ``kdbench-<name>`` in `folder`; return that folder.

    Raises:
        UsageError: `part` is unknown, `name` is malformed or taken, or the folder exists.
    """
    if part not in PARTS:
        raise UsageError(f"cannot write a new {part!r}{nearest(part, list(PARTS))}")
    class_name = _class_name(name)
    _check_free(part, name, registry)
    target = folder / f"kdbench-{name}"
    if target.exists() or target.is_symlink():
        raise UsageError(f"{target} exists; choose another name, or remove it first")
    module = f"kdbench_{name.replace('-', '_')}"
    values = {"part": _WORDS.get(part, part), "name": name, "module": module, "class_name": class_name}
    written = {
        "pyproject.toml": "pyproject.toml.in",
        "README.md": "README.md.in",
        f"{module}.py": f"{part}.py.in",
        f"test_{module}.py": _TESTS.get(part, "test_checks.py.in"),
    }
    templates = files("kdbench.authoring") / "templates"
    for path, template in written.items():
        text = (templates / template).read_text(encoding="utf-8")
        write_atomically(target / path, Template(text).substitute(values))
    return target


def _class_name(name: str) -> str:
    """Return `name` as that of a class: ``MyIdea`` for ``my-idea``."""
    import kdbench

    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{shown(name)} is no name for a plugin; take lower-case letters, digits and single dashes, a letter first"
        )
    class_name = "".join(word.capitalize() for word in name.split("-"))
    if keyword.iskeyword(class_name) or class_name in (*kdbench.__all__, "Field", "Tensor"):
        raise UsageError(
            f"the class for {name!r} would be called {class_name}, which has a meaning; choose another name"
        )
    return class_name


def _check_free(part: str, name: str, registry: Registry) -> None:
    registered: dict[str, Mapping[str, Registered[Any]]] = {
        "task": registry.tasks,
        "metric": registry.registered_metrics,
        "kind": registry.kinds,
    }
    if taken := registered.get(part, registry.strategies).get(name):
        raise UsageError(f"the name {name!r} is taken by {taken.distribution}; choose another")
