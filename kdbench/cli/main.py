"""Run the command line and map errors to messages and exit codes."""

from __future__ import annotations

import signal
import sys
import traceback
from types import FrameType

import click

from kdbench.cli import board, describe, models, run, share, tune
from kdbench.cli.options import complain
from kdbench.cli.streams import prepare_streams
from kdbench.errors import KdbenchError, UsageError


def main() -> None:
    """Run the command line; a user's mistake is reported in one line on standard error, without a traceback."""
    debug = "--debug" in sys.argv
    prepare_streams()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        status = cli.main(args=[word for word in sys.argv[1:] if word != "--debug"], standalone_mode=False)
    except BrokenPipeError:
        sys.exit(1)  # the reader of our output has closed the pipe, as `| head` does
    except (KdbenchError, OSError) as error:
        if debug:
            traceback.print_exc()
        complain(str(error))
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except click.ClickException as error:
        complain(error.format_message())
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        complain("interrupted")
        sys.exit(130)
    sys.exit(status)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kdbench")
def cli() -> None:
    """Benchmark ways of making a BERT-like model smaller or cheaper to adapt, under one budget.

    Any command takes --debug, which prints the traceback of an error.
    """


for command in (
    run.run,
    run.plan,
    run.show_config,
    run.watch,
    tune.tune,
    board.board,
    board.compare_,
    board.recommend_,
    describe.list_,
    describe.describe,
    models.export,
    models.predict,
    share.publish,
    share.verify,
):
    cli.add_command(command)
