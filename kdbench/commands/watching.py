"""Looking at a run while it goes on."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

import click

from kdbench.commands.common import model_of, out
from kdbench.config import RunConfig
from kdbench.errors import UsageError
from kdbench.flags import settings

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
    from kdbench.live.page import live_answers
    from kdbench.live.server import served

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
