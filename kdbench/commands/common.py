"""What the commands share: consoles, the registry, warnings, boards and JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import click
from rich.console import Console

from kdbench.config import RunConfig
from kdbench.errors import UsageError

# The commands import what they need when they run, so that --help and a mistyped flag answer at once.
if TYPE_CHECKING:
    import pandas as pd

    from kdbench.board.write import BoardSummary
    from kdbench.registry import Registry

_WIDTH_OF_FILES = 120  # of tables, where the output is no terminal

# Paths and names may hold brackets and colons: they are text, neither markup nor emoji.
_console = partial(Console, highlight=False, markup=False, emoji=False)
out = _console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)
err = _console(stderr=True)

json_flag = click.option("--json", "as_json", is_flag=True, help="print JSON")


def complain(message: str) -> None:
    """Tell in one line why a command ends."""
    err.print(f"kdbench: {message}", soft_wrap=True, style="red")


def warn(lines: Iterable[object]) -> None:
    """Print each of `lines` as a warning."""
    for line in lines:
        err.print(f"  ! {line}", style="yellow", soft_wrap=True)


def print_json(data: object) -> None:
    """Print `data` as JSON."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def model_of(config: RunConfig) -> str | None:
    """Return what records call the base model that the settings name."""
    from kdbench.base_model import model_name

    return None if config.model is None else model_name(config.model)


def registry_of(config: RunConfig) -> Registry:
    """Return what the plugins and the settings bring; what is wrong with a plugin is told and never fatal."""
    from kdbench.plugins import load_registry

    registry = load_registry(config)
    for plugin in registry.plugins:
        if (
            plugin.name in config.plugins.modules
            and plugin.error
            and not (plugin.strategies or plugin.tasks or plugin.hooks)
        ):
            raise UsageError(f"--plugin {plugin.name}: {plugin.error}")
    warn(registry.broken)
    return registry


def plugin_columns(registry: Registry, warnings: list[str], table: pd.DataFrame) -> list[pd.DataFrame]:
    """Return what plugins add to the table of rows; what went wrong is added to `warnings`."""
    columns, problems = registry.board_columns(table)
    warnings.extend(problems)
    return columns


def show_board(config: RunConfig, summary: BoardSummary) -> None:
    """Print a board that was written, and where it is."""
    from kdbench.board.terminal import render_terminal

    for table in render_terminal(summary.rows):
        out.print(table)
    warn(summary.problems)
    out.print(f"Board: {config.board_folder / 'README.md'}", soft_wrap=True)
