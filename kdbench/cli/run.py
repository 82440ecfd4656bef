"""Define the commands that run the matrix, plan a run, or show its settings and progress."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone

import click

from kdbench.cli.options import (
    INTERRUPTED,
    complain,
    err,
    json_flag,
    model_of,
    out,
    print_json,
    registry_of,
    settings,
    show_board,
    show_labels,
    warn,
)
from kdbench.config import RunConfig, to_toml
from kdbench.errors import UsageError
from kdbench.utils.formatting import plural

port_flag = click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="port of the live page on 127.0.0.1; by default 8731 or the next free one",
)


@click.command()
@settings
@port_flag
def watch(config: RunConfig, port: int | None) -> int:
    """Show the progress of a run in a browser, until Ctrl-C."""
    if not config.results.is_dir():
        raise UsageError(
            f"no results folder {config.results}; start 'kdbench run' first, or correct --results"
        )
    with suppress(KeyboardInterrupt), serving(config, port, low_priority=True):
        out.print("Ctrl-C stops this page but not the run.")
        threading.Event().wait()
    return 0


@contextmanager
def serving(
    config: RunConfig, port: int | None, *, since: datetime | None = None, low_priority: bool = False
) -> Iterator[None]:
    """Serve the live page of the settings' results folder while the block runs, and print its address.

    With `low_priority`, other processes on the machine take precedence; `since` is as in `Place`.

    Raises:
        UsageError: the port is taken, or the cache cannot be written.
    """
    from kdbench.live.follow import Follow, Place
    from kdbench.live.server import live_answers, served

    place = Place(
        results=config.results,
        board=None if config.labels else config.board,  # each count has a board of its own
        default_board=config.board_folder,
        budget=config.budget,
        model=model_of(config),
        since=since,
    )
    follow = Follow(place)
    answers = live_answers(follow, config.cache_dir)
    if low_priority:  # only now, so that the page starts fast
        with suppress(AttributeError):  # not available on this system
            os.nice(10)
    with served(answers, port) as address:
        out.print(f"Live page: {address}", soft_wrap=True)
        yield
        follow.wait_for_readers()


@click.command()
@settings
@click.option("--serve", is_flag=True, help="show the progress in a browser, as 'kdbench watch' does")
@port_flag
def run(config: RunConfig, serve: bool, port: int | None) -> int:
    """Run every strategy on every task and write the boards.

    Cells that finished in an earlier run are not run again.
    """
    if not serve:
        if port is not None:
            raise UsageError("--port is the port of --serve; add --serve, or leave --port out")
        return _run(config)
    with serving(config, port, since=datetime.now(timezone.utc)):
        return _run(config)


def _run(config: RunConfig) -> int:
    if not config.labels:
        return _run_matrix(config)
    from kdbench.board.sources import read_results

    counts = ", ".join(map(str, config.labels))
    out.print(f"The same matrix at each label count: {counts}", soft_wrap=True)
    worst = 0
    for count, part in config.by_labels.items():
        out.print(f"\nLabel count {count}")
        worst = max(worst, _run_matrix(part))
        if worst == INTERRUPTED:
            return worst
    registry = registry_of(config)
    show_labels(config, registry, read_results(config.results), ())
    return worst


def _run_matrix(config: RunConfig) -> int:
    from kdbench.live.recorder import Ending, Recorder
    from kdbench.render.decision import end_lines
    from kdbench.run.progress import Terminal, Watcher
    from kdbench.run.rounds import run_until_decided
    from kdbench.run.runner import run as run_matrix

    registry = registry_of(config)
    decided = None
    with Terminal(out) as terminal, Recorder(config) as recorder:
        watcher = Watcher(terminal, recorder)
        if config.until_decided:
            decided = run_until_decided(config, registry, watcher)
            outcome = decided.outcome
        else:
            outcome = run_matrix(config, registry, watcher)
        recorder.end(Ending.INTERRUPTED if outcome.interrupted else Ending.DONE)
    if outcome.board is not None:
        show_board(config, outcome.board)
    if decided is not None and not outcome.interrupted:
        out.print("\n".join(end_lines(decided.tasks, decided.savings)), soft_wrap=True)
    out.print(f"Records, models and logs: {config.results}", soft_wrap=True)
    if outcome.interrupted:
        complain(
            f"interrupted with {plural(outcome.unfinished, 'cell')} to go; run the same command again to resume"
        )
        return INTERRUPTED
    if outcome.failed:
        err.print(
            f"{outcome.failed} of {len(outcome.plan.cells)} cells have no result; the board gives the reasons, "
            f"{config.results / 'logs'} has the logs, and --overwrite failed runs them again",
            soft_wrap=True,
        )
    warn(outcome.latency_failures)
    return 1 if outcome.failed or outcome.latency_failures else 0


@click.command()
@settings
@json_flag
def plan(config: RunConfig, as_json: bool) -> int:
    """Print what a run would do and how long it would take."""
    from kdbench.run.plan import make_plan
    from kdbench.run.preflight import plan_data, print_at_most, print_counts, print_plan, totals
    from kdbench.run.rounds import plan_grid

    registry = registry_of(config)
    parts = config.by_labels or {"all": config}
    plans = {count: make_plan(part, registry, fetch=False) for count, part in parts.items()}
    grids = {
        count: plan_grid(part, registry, fetch=False) for count, part in parts.items() if config.until_decided
    }
    if as_json:
        data = {
            count: plan_data(planned, parts[count])
            | ({"at_most": totals(grids[count], parts[count])} if count in grids else {})
            for count, planned in plans.items()
        }
        print_json(
            {"labels": [{"count": count, **part} for count, part in data.items()]}
            if config.labels
            else data["all"]
        )
        return 0
    for count, planned in plans.items():
        if config.labels:
            out.print(f"\nLabel count {count}\n")
        print_plan(planned, parts[count], out)
        if count in grids:
            print_at_most(grids[count], parts[count], out)
    if config.labels:
        print_counts(plans, out)
    return 0


@click.command("config")
@settings
def show_config(config: RunConfig) -> int:
    """Print the merged settings of a run as a config file."""
    click.echo(to_toml(config), nl=False)
    return 0
