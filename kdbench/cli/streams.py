"""Write to the terminal only what it shows, whatever its encoding and even if it is closed."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from kdbench.utils.formatting import printable

_WIDTH_OF_FILES = 120  # width of tables if the output is not a terminal
_UNPRINTABLE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class PlainConsole(Console):
    """A console that shows texts as they are: no markup, no emoji, and nothing that a terminal obeys.

    Records, file names and messages of others may contain terminal escapes, brackets and colons.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        stream: TextIO | None = sys.stderr if stderr else sys.stdout  # None if it is closed
        width = None if stderr or (stream is not None and stream.isatty()) else _WIDTH_OF_FILES
        super().__init__(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of `renderable`, with printable texts."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def printable_json(text: str) -> str:
    """Return the JSON `text` with all that is not printable as escapes of JSON."""
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def prepare_streams() -> None:
    """Replace closed standard streams, and let characters that a stream's encoding lacks not fail.

    A file that is opened while stdout is closed would otherwise take its place, and receive what is printed.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
