"""Run the command line and map errors to messages and exit codes."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from types import FrameType

import click

from kdbench.cli import authors, board, describe, models, run, share, tune
from kdbench.cli.options import INTERRUPTED, complain, warn
from kdbench.cli.streams import prepare_streams
from kdbench.errors import KdbenchError, UsageError, one_line, shown
from kdbench.utils.remarks import remarks_to


def main() -> None:
    """Run the command line; every error is reported in one line on standard error, without a traceback."""
    _set_signals()
    prepare_streams()
    try:
        status = _run([word for word in sys.argv[1:] if word != "--debug"], debug="--debug" in sys.argv)
        _ignore_signals()
    except (KeyboardInterrupt, click.Abort):
        _ignore_signals()
        complain("interrupted")
        status = INTERRUPTED
    sys.exit(status)


def _run(words: list[str], *, debug: bool) -> int | None:
    """Run the command in `words` and return its exit code."""
    try:
        _check_encoding(words)
        with remarks_to(lambda line: warn([line])):
            status: int | None = cli.main(args=words, standalone_mode=False)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the rest of the output, which Python writes at its end
        return 1  # the reader of our output has closed the pipe, as `| head` does
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        complain(error.format_message())
        return 2
    except click.Abort:
        raise
    except Exception as error:
        if debug:
            traceback.print_exc()
        complain(_described(error))
        return 2 if isinstance(error, UsageError) else 1


_NO_MEMORY = ("failed to map segment", "annot allocate memory", "can't allocate memory", "bad_alloc")
"""What libraries say where they do not raise a MemoryError: the loader, the system, torch and C++."""


def _described(error: Exception) -> str:
    if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
        return "too little memory; free some, or choose fewer --workers or a smaller --model"
    if isinstance(error, KdbenchError | OSError):
        return str(error)
    return f"{one_line(error)}; --debug prints where this comes from"


def _check_encoding(words: list[str]) -> None:
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(f"the argument {shown(word)} {_why_no_text(word)}") from None


def _why_no_text(word: str) -> str:
    try:
        os.fsencode(word).decode("utf-8")
    except UnicodeError:
        return "is not text in UTF-8; correct or rename it"
    return f"cannot be read in this locale ({sys.getfilesystemencoding()}); set PYTHONUTF8=1"


_ENDING = (signal.SIGINT, signal.SIGTERM)


def _set_signals() -> None:
    """Let both signals interrupt the command, though a background shell or a batch system may have them ignored."""
    for number in _ENDING:
        signal.signal(number, _interrupt)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def _ignore_signals() -> None:
    """Let no signal disturb the end: Python's own end restores their default, which kills with another status."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


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
    authors.new,
    authors.check,
    models.export,
    models.predict,
    share.publish,
    share.verify,
):
    cli.add_command(command)
