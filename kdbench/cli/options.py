"""Define flags, output and helpers that commands share; flags take their help from `RunConfig`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from kdbench.cli.streams import PlainConsole, printable_json
from kdbench.config import RunConfig, TaskTable, load_config
from kdbench.config import task_name as name_of
from kdbench.errors import UsageError
from kdbench.utils.files import user_path
from kdbench.utils.formatting import on_one_line

if TYPE_CHECKING:
    from kdbench.board.sources import Source
    from kdbench.budgets import LabelCount
    from kdbench.registry import Registry
    from kdbench.render.write import BoardSummary


_Command = TypeVar("_Command", bound=Callable[..., Any])


class _UserPath(click.Path):
    """A path with ``~`` for the home folder, which a shell leaves alone in ``--results=~/x``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return user_path(Path(os.fsdecode(super().convert(value, param, ctx))))


PATH = _UserPath(path_type=Path)
json_flag = click.option("--json", "as_json", is_flag=True, help="print JSON")

_TASK_FLAGS = {
    "text": "--text",
    "label": "--label",
    "separator": "--separator",
    "kind": "--kind",
    "test": "--test-file",
    "group": "--group",
    "metric": "--metric",
    "labels": "--class",
    "delimiter": "--delimiter",
    "quotes": "--quotes/--no-quotes",
}
"""The flags of those fields of a `TaskTable` that have one; a config file can set all of them."""


def _setting(
    name: str, *, metavar: str, multiple: bool = False, kind: Any = None
) -> Callable[[_Command], _Command]:
    """Return the flag for a setting of `RunConfig`, with its description as help."""
    description = RunConfig.model_fields[name].description
    return click.option(
        f"--{name.replace('_', '-')}", name, help=description, metavar=metavar, multiple=multiple, type=kind
    )


def plugin_flag(description: str) -> Callable[[_Command], _Command]:
    """Return the flag ``--plugin``, which can be repeated."""
    return click.option("--plugin", multiple=True, metavar="MODULE", help=description)


def _of_task_file(name: str) -> Callable[[_Command], _Command]:
    description = f"for --task-file: {TaskTable.model_fields[name].description}"
    if "/" in _TASK_FLAGS[name]:
        return click.option(_TASK_FLAGS[name], f"file_{name}", default=None, help=description)
    return click.option(
        _TASK_FLAGS[name],
        f"file_{name}",
        multiple=name in ("text", "labels"),
        metavar="NAME",
        help=description,
    )


def settings(command: _Command) -> _Command:
    """Give `command` a flag for each setting of a run; it is called with the merged settings as `config`."""
    flags = [
        click.option("--config", "file", type=PATH, metavar="FILE", help="a TOML file of settings"),
        _setting("strategy", metavar="NAME", multiple=True),
        _setting("task", metavar="NAME", multiple=True),
        _setting("budget", metavar="NAME"),
        _setting("labels", metavar="N,N,all"),
        _setting("seeds", metavar="N", kind=int),
        click.option(
            "--until-decided",
            is_flag=True,
            default=None,
            help=RunConfig.model_fields["until_decided"].description,
        ),
        _setting("max_seeds", metavar="N", kind=int),
        _setting("model", metavar="PATH_OR_HUB_ID"),
        _setting("teacher", metavar="PATH_OR_HUB_ID"),
        _setting("data_dir", metavar="DIR", kind=PATH),
        _setting("results", metavar="DIR", kind=PATH),
        _setting("board", metavar="DIR", kind=PATH),
        _setting("executor", metavar="process|inline"),
        _setting("workers", metavar="N", kind=int),
        _setting("threads", metavar="N", kind=int),
        _setting("timeout", metavar="SECONDS", kind=float),
        _setting("back_end", metavar="NAME", multiple=True),
        _setting("margin", metavar="POINTS", kind=float),
        _setting("price_per_answer", metavar="PRICE", kind=float),
        _setting("overwrite", metavar="never|failed|outdated|all"),
        click.option(
            "--serving/--no-serving", default=None, help=RunConfig.model_fields["serving"].description
        ),
        click.option(
            "--drawings/--no-drawings", default=None, help=RunConfig.model_fields["drawings"].description
        ),
        _setting("report_to", metavar="NAME", multiple=True),
        plugin_flag("a plugin that is not installed: a module or a .py file"),
        click.option(
            "--task-file",
            type=PATH,
            metavar="FILE",
            help="training data of a user-defined task, as train in [tasks]",
        ),
        click.option(
            "--task-name", metavar="NAME", help="for --task-file: the task's name; by default the file's"
        ),
        *map(_of_task_file, _TASK_FLAGS),
    ]

    @wraps(command)
    def merged(
        file: Path | None,
        plugin: tuple[str, ...],
        task_file: Path | None,
        task_name: str | None,
        **given: Any,
    ) -> Any:
        names = RunConfig.model_fields
        chosen = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
        flags = {name: value for name, value in chosen.items() if name in names}
        if plugin:
            flags["plugins"] = {"modules": list(plugin)}
        fields = {name: given.pop(f"file_{name}") for name in _TASK_FLAGS}
        table = {name: value for name, value in fields.items() if value not in (None, "", ())}
        if "," in table.get("label", ""):
            table["label"] = tuple(table["label"].split(","))
        if task_file is not None:
            flags["tasks"] = {task_name or name_of(task_file): {"train": str(task_file), **table}}
        elif table or task_name:
            flag = _TASK_FLAGS[next(iter(table))] if table else "--task-name"
            raise UsageError(f"{flag} describes a task file; name the file with --task-file")
        others = {name: value for name, value in given.items() if name not in names}
        return command(load_config(file, flags), **others)

    for flag in reversed(flags):
        merged = flag(merged)
    return cast(_Command, merged)


# Commands import what they need when they run, so that --help and a mistyped flag respond at once.

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C has ended."""
out = PlainConsole()
err = PlainConsole(stderr=True)
_MAX_MESSAGE = 2000
"""The length of a message: a name in it may be a whole file."""


def complain(message: str) -> None:
    """Print in one line why a command failed."""
    err.print(f"kdbench: {on_one_line(message, _MAX_MESSAGE)}", soft_wrap=True, style="red")


def warn(lines: Iterable[object]) -> None:
    """Print each of `lines` as a warning."""
    for line in lines:
        err.print(f"  ! {on_one_line(str(line), _MAX_MESSAGE)}", style="yellow", soft_wrap=True)


def print_json(data: object) -> None:
    """Print `data` as JSON."""
    click.echo(printable_json(json.dumps(data, indent=2, ensure_ascii=False)))


def model_of(config: RunConfig) -> str | None:
    """Return the name by which records refer to the base model of the settings."""
    from kdbench.models.base import model_name

    return None if config.model is None else model_name(config.model)


def registry_of(config: RunConfig) -> Registry:
    """Return the registry of plugins and settings; problems of a plugin are printed as warnings.

    Raises:
        UsageError: a plugin named by ``--plugin`` provides nothing.
    """
    from kdbench.plugins import load_registry

    registry = load_registry(config)
    for plugin in registry.plugins:
        if (
            plugin.name in config.plugins.modules
            and plugin.error
            and not (plugin.strategies or plugin.tasks or plugin.hooks)
        ):
            raise UsageError(f"--plugin {plugin.name}: {plugin.error}")
    warn(registry.problems)
    return registry


def show_board(config: RunConfig, summary: BoardSummary) -> None:
    """Print a written board and its path."""
    from kdbench.render.terminal import render_terminal

    for table in render_terminal(summary.rows):
        out.print(table)
    warn(summary.problems)
    out.print(f"Board: {config.board_folder / 'README.md'}", soft_wrap=True)


def show_labels(config: RunConfig, registry: Registry, source: Source, counts: Sequence[LabelCount]) -> None:
    """Write the page of the label counts, with these `counts` or all that there are, and print its path."""
    from kdbench.render.labels import LABELS_PAGE
    from kdbench.render.write_labels import write_labels

    left_out = write_labels(
        source,
        config.board_folder,
        budget=config.budget,
        model=model_of(config),
        labels=counts,
        cache=config.drawings_cache,
        metrics=registry.metrics,
        price=config.price_per_answer,
    )
    warn(left_out)
    out.print(f"Label counts: {config.board_folder / LABELS_PAGE}", soft_wrap=True)
