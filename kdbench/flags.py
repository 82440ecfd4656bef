"""The flags that every command with settings shares, explained by the descriptions in `RunConfig`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from kdbench.config import RunConfig, TaskTable, load_config, task_name
from kdbench.errors import UsageError

_Command = TypeVar("_Command", bound=Callable[..., Any])

_TABLE = ("text", "label", "kind", "test", "group", "metric")
"""What can be said of a --task-file by flags; a config file can say all of it."""


def _setting(
    name: str, *, metavar: str, multiple: bool = False, kind: Any = None
) -> Callable[[_Command], _Command]:
    """Return the flag of one setting of `RunConfig`, explained by its description there."""
    description = RunConfig.model_fields[name].description
    return click.option(
        f"--{name.replace('_', '-')}", name, help=description, metavar=metavar, multiple=multiple, type=kind
    )


def _of_task_file(name: str, *, multiple: bool) -> Callable[[_Command], _Command]:
    flag = "--test-file" if name == "test" else f"--{name}"
    description = TaskTable.model_fields[name].description
    return click.option(
        flag, f"file_{name}", multiple=multiple, metavar="NAME", help=f"of --task-file: {description}"
    )


def settings(command: _Command) -> _Command:
    """Give `command` a flag for each setting of a run; it is called with the merged settings as `config`."""
    flags = [
        click.option(
            "--config",
            "file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="a TOML file of settings",
        ),
        _setting("strategy", metavar="NAME", multiple=True),
        _setting("task", metavar="NAME", multiple=True),
        _setting("budget", metavar="NAME"),
        _setting("seeds", metavar="N", kind=int),
        _setting("model", metavar="PATH_OR_HUB_ID"),
        _setting("teacher", metavar="PATH_OR_HUB_ID"),
        _setting("data_dir", metavar="DIR", kind=click.Path(path_type=Path)),
        _setting("results", metavar="DIR", kind=click.Path(path_type=Path)),
        _setting("board", metavar="DIR", kind=click.Path(path_type=Path)),
        _setting("executor", metavar="process|inline"),
        _setting("workers", metavar="N", kind=int),
        _setting("threads", metavar="N", kind=int),
        _setting("timeout", metavar="SECONDS", kind=float),
        _setting("overwrite", metavar="never|failed|all"),
        click.option(
            "--drawings/--no-drawings", default=None, help=RunConfig.model_fields["drawings"].description
        ),
        _setting("report_to", metavar="NAME", multiple=True),
        click.option(
            "--plugin",
            multiple=True,
            metavar="MODULE",
            help="a plugin that is not installed: a module or a .py file",
        ),
        click.option(
            "--task-file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="a task of your own, as [tasks] has it",
        ),
        *(_of_task_file(name, multiple=name == "text") for name in _TABLE),
    ]

    @wraps(command)
    def merged(file: Path | None, plugin: tuple[str, ...], task_file: Path | None, **given: Any) -> Any:
        names = RunConfig.model_fields
        chosen = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
        flags = {name: value for name, value in chosen.items() if name in names}
        if plugin:
            flags["plugins"] = {"modules": list(plugin)}
        table = {name: value for name in _TABLE if (value := given.pop(f"file_{name}"))}
        if task_file is not None:
            flags["tasks"] = {task_name(task_file): {"train": str(task_file), **table}}
        elif table:
            raise UsageError(f"--{next(iter(table))} says something of a task file; name it with --task-file")
        others = {name: value for name, value in given.items() if name not in names}
        return command(load_config(file, flags), **others)

    for flag in reversed(flags):
        merged = flag(merged)
    return cast(_Command, merged)
