"""The command line: its commands, and how it ends."""

from __future__ import annotations

import signal
import sys
import traceback
from types import FrameType

import click

from kdbench.commands import describing, models, reading, running, sharing, watching
from kdbench.commands.common import complain
from kdbench.errors import KdbenchError, UsageError


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
    """Benchmark every way of making a BERT-like model smaller or cheaper to adapt, under one budget.

    With --debug an error shows its traceback.
    """


for command in (
    running.run,
    running.plan,
    running.show_config,
    watching.watch,
    reading.board,
    reading.compare_,
    reading.recommend_,
    describing.list_,
    describing.describe,
    models.export,
    models.predict,
    sharing.publish,
    sharing.verify,
):
    cli.add_command(command)
