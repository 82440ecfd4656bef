"""The commands: parse, call, print."""

from __future__ import annotations

import json
import signal
import sys
import traceback
from collections.abc import Iterable
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

import click
from rich.console import Console

from kdbench.board.formatting import plural
from kdbench.config import RunConfig, to_toml
from kdbench.errors import KdbenchError, UsageError
from kdbench.flags import settings

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


def main() -> None:
    """Run the command line; a user's mistake is one line on standard error, not a traceback."""
    debug = "--debug" in sys.argv
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        status = cli.main(args=[word for word in sys.argv[1:] if word != "--debug"], standalone_mode=False)
    except BrokenPipeError:
        sys.exit(1)  # the reader of our output has gone, as `| head` does
    except (KdbenchError, OSError) as error:
        if debug:
            traceback.print_exc()
        _complain(str(error))
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except click.ClickException as error:
        _complain(error.format_message())
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted")
        sys.exit(130)
    sys.exit(status)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _complain(message: str) -> None:
    err.print(f"kdbench: {message}", soft_wrap=True, style="red")


_json_flag = click.option("--json", "as_json", is_flag=True, help="print JSON")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kdbench")
def cli() -> None:
    """Benchmark every way of making a BERT-like model smaller or cheaper to adapt, under one budget.

    With --debug an error shows its traceback.
    """


@cli.command()
@settings
def run(config: RunConfig) -> int:
    """Run every strategy on every task and write the boards; what has finished before is kept."""
    from kdbench.progress import Terminal
    from kdbench.runner import run as run_matrix

    registry = _registry(config)
    with Terminal(out) as terminal:
        outcome = run_matrix(config, registry, terminal)
    if outcome.board is not None:
        _show_board(config, outcome.board)
    out.print(f"Records, models and logs: {config.results}", soft_wrap=True)
    if outcome.interrupted:
        _complain(
            f"interrupted with {plural(outcome.unfinished, 'cell')} to go; the same command goes on from here"
        )
        return 130
    if outcome.failed:
        err.print(
            f"{outcome.failed} of {len(outcome.plan.cells)} cells have no result; the board says why, "
            f"{config.results / 'logs'} holds the details, and --overwrite failed runs them again",
            soft_wrap=True,
        )
    _warn(outcome.latency_failures)
    return 1 if outcome.failed or outcome.latency_failures else 0


@cli.command()
@settings
@_json_flag
def plan(config: RunConfig, as_json: bool) -> int:
    """Print what a run with the same flags would do, and about how long it would take; nothing is run."""
    from kdbench.plan import make_plan
    from kdbench.plan_view import plan_data, print_plan

    found = make_plan(config, _registry(config), fetch=False)
    if as_json:
        _print_json(plan_data(found, config))
    else:
        print_plan(found, config, out)
    return 0


@cli.command("config")
@settings
def show_config(config: RunConfig) -> int:
    """Print the settings that a run with the same flags would have, as a config file."""
    click.echo(to_toml(config), nl=False)
    return 0


@cli.command()
@settings
def board(config: RunConfig) -> int:
    """Draw the boards again from the records; nothing is run."""
    from kdbench.base_model import model_name
    from kdbench.board.write import write_board

    registry = _registry(config)
    warnings: list[str] = []

    def plugin_columns(table: pd.DataFrame) -> list[pd.DataFrame]:
        columns, problems = registry.board_columns(table)
        warnings.extend(problems)
        return columns

    _show_board(
        config,
        write_board(
            config.results,
            config.board_folder,
            budget=config.budget,
            model=None if config.model is None else model_name(config.model),
            columns=plugin_columns,
        ),
    )
    _warn(warnings)
    return 0


@cli.command("list")
@click.argument("what", default="strategies", metavar="[strategies|tasks|plugins|budgets]")
@settings
@_json_flag
def list_(config: RunConfig, what: str, as_json: bool) -> int:
    """Print the strategies, tasks, plugins or budgets that there are."""
    from kdbench.describe import listing, listing_table

    rows = listing(_registry(config), what)
    if as_json:
        _print_json(rows)
    else:
        out.print(listing_table(what, rows))
    return 0


@cli.command()
@click.argument("name")
@settings
@_json_flag
def describe(config: RunConfig, name: str, as_json: bool) -> int:
    """Print all that is known of a strategy, a task or a budget."""
    from kdbench.describe import description, description_view
    from kdbench.task_sizes import task_sizes

    registry = _registry(config)
    sizes = task_sizes(registry.task(name), config) if name in registry.tasks else None
    found = description(registry, name, sizes)
    if as_json:
        _print_json(found)
    else:
        out.print(description_view(found))
    return 0


def _registry(config: RunConfig) -> Registry:
    """Return what the plugins and the settings bring; what is wrong with a plugin is told and never fatal."""
    from kdbench.usertasks import load_registry

    registry = load_registry(config)
    for plugin in registry.plugins:
        if (
            plugin.name in config.plugins.modules
            and plugin.error
            and not (plugin.strategies or plugin.tasks or plugin.hooks)
        ):
            raise UsageError(f"--plugin {plugin.name}: {plugin.error}")
    _warn(registry.broken)
    return registry


def _show_board(config: RunConfig, summary: BoardSummary) -> None:
    from kdbench.board.terminal import render_terminal

    for table in render_terminal(summary.rows):
        out.print(table)
    _warn(summary.problems)
    out.print(f"Board: {config.board_folder / 'README.md'}", soft_wrap=True)


def _warn(lines: Iterable[object]) -> None:
    for line in lines:
        err.print(f"  ! {line}", style="yellow", soft_wrap=True)


def _print_json(data: object) -> None:
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))
