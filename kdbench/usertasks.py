"""The plugins' tasks, and those that the settings describe."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from kdbench.config import RunConfig
from kdbench.contracts import checked_task
from kdbench.data.userfile import UserTask
from kdbench.errors import UsageError
from kdbench.plugins import load_plugins
from kdbench.registry import Registered, Registry
from kdbench.task import Task

_SETTINGS = "(settings)"
"""Stands for the distribution of a task that the settings describe."""


def load_registry(config: RunConfig) -> Registry:
    """Return what the plugins bring and the tasks of the settings.

    Raises:
        UsageError: a table takes the name of another task, or describes none that could run.
    """
    registry = load_plugins(config.plugins.modules)
    tasks: dict[str, Registered[Task]] = dict(registry.tasks)
    for name, table in config.tasks.items():
        if name in tasks:
            raise UsageError(
                f"[tasks.{name}]: task {name!r} is {tasks[name].distribution}'s; choose another name"
            )
        task = UserTask(name, table, Path.cwd(), config.cache_dir)
        tasks[name] = Registered(checked_task(task), _SETTINGS, "")
    return dataclasses.replace(registry, tasks=tasks)
