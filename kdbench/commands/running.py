"""Commands that run the matrix, or tell what a run would do."""

from __future__ import annotations

from datetime import datetime, timezone

import click

from kdbench.board.formatting import plural
from kdbench.commands.common import complain, err, json_flag, out, print_json, registry_of, show_board, warn
from kdbench.commands.watching import port_flag, serving
from kdbench.config import RunConfig, to_toml
from kdbench.errors import UsageError
from kdbench.flags import settings


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
    from kdbench.live.recorder import Recorder
    from kdbench.live.state import Ending
    from kdbench.progress import Terminal
    from kdbench.runner import run as run_matrix
    from kdbench.watcher import Watchers

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
    from kdbench.plan import make_plan
    from kdbench.plan_view import plan_data, print_plan

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
