"""Commands that run the matrix, or tell what a run would do."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone

import click

from kdbench.cli.options import (
    complain,
    err,
    json_flag,
    model_of,
    out,
    print_json,
    registry_of,
    settings,
    show_board,
    warn,
)
from kdbench.config import RunConfig, to_toml
from kdbench.errors import UsageError
from kdbench.utils.formatting import plural

port_flag = click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="of the live page on 127.0.0.1; by default 8731 or the next that is free",
)


@click.command()
@settings
@port_flag
def watch(config: RunConfig, port: int | None) -> int:
    """Show in a browser how the run in a results folder is going, until Ctrl-C; nothing can be changed there."""
    if not config.results.is_dir():
        raise UsageError(
            f"no results folder {config.results}; start 'kdbench run' first, or correct --results"
        )
    with suppress(KeyboardInterrupt), serving(config, port, gives_way=True):
        out.print("Ctrl-C ends this page, and no run.")
        threading.Event().wait()
    return 0


@contextmanager
def serving(
    config: RunConfig, port: int | None, *, since: datetime | None = None, gives_way: bool = False
) -> Iterator[None]:
    """Serve the live page of the settings' results folder while the block runs, and print its address.

    Args:
        since: as in `Place`.
        gives_way: whether everything else that runs on the machine comes before this process.

    Raises:
        UsageError: the port is taken, or the cache cannot be written.
    """
    from kdbench.live.follow import Follow, Place
    from kdbench.live.server import live_answers, served

    place = Place(
        results=config.results,
        board=config.board,
        default_board=config.board_folder,
        budget=config.budget,
        model=model_of(config),
        since=since,
    )
    follow = Follow(place)
    answers = live_answers(follow, config.cache_dir)
    if gives_way:  # only now, so that the page is there soon
        with suppress(AttributeError):  # no such thing on this system
            os.nice(10)
    with served(answers, port) as address:
        out.print(f"Live page: {address}", soft_wrap=True)
        yield
        follow.wait_for_readers()


@click.command()
@settings
@click.option(
    "--serve", is_flag=True, help="show the run in a browser while it goes on, as 'kdbench watch' does"
)
@port_flag
def run(config: RunConfig, serve: bool, port: int | None) -> int:
    """Run every strategy on every task and write the boards; what has finished before is kept."""
    if not serve:
        if port is not None:
            raise UsageError("--port says where --serve shows the run; add --serve, or leave --port out")
        return _run(config)
    with serving(config, port, since=datetime.now(timezone.utc)):
        return _run(config)


def _run(config: RunConfig) -> int:
    from kdbench.live.recorder import Ending, Recorder
    from kdbench.run.progress import Terminal, Watchers
    from kdbench.run.runner import run as run_matrix

    registry = registry_of(config)
    with Terminal(out) as terminal, Recorder(config) as recorder:
        outcome = run_matrix(config, registry, Watchers(terminal, recorder))
        recorder.end(Ending.INTERRUPTED if outcome.interrupted else Ending.DONE)
    if outcome.board is not None:
        show_board(config, outcome.board)
    out.print(f"Records, models and logs: {config.results}", soft_wrap=True)
    if outcome.interrupted:
        complain(
            f"interrupted with {plural(outcome.unfinished, 'cell')} to go; the same command goes on from here"
        )
        return 130
    if outcome.failed:
        err.print(
            f"{outcome.failed} of {len(outcome.plan.cells)} cells have no result; the board says why, "
            f"{config.results / 'logs'} holds the details, and --overwrite failed runs them again",
            soft_wrap=True,
        )
    warn(outcome.latency_failures)
    return 1 if outcome.failed or outcome.latency_failures else 0


@click.command()
@settings
@json_flag
def plan(config: RunConfig, as_json: bool) -> int:
    """Print what a run with the same flags would do, and about how long it would take; nothing is run."""
    from kdbench.run.plan import make_plan
    from kdbench.run.preflight import plan_data, print_plan

    found = make_plan(config, registry_of(config), fetch=False)
    if as_json:
        print_json(plan_data(found, config))
    else:
        print_plan(found, config, out)
    return 0


@click.command("config")
@settings
def show_config(config: RunConfig) -> int:
    """Print the settings that a run with the same flags would have, as a config file."""
    click.echo(to_toml(config), nl=False)
    return 0
