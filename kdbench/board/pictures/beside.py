"""Pictures in a process of their own, while this one does something else."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

from kdbench.board.pictures.all import Picture, draw
from kdbench.workers import usable_cores

_FEWEST = 20
"""With fewer pictures, starting a process costs more than it gains."""
_SHARE = 0.55
"""The part of the pictures for the other process; this one has the board's page to write, too."""
_PATIENCE_S = 120.0
"""How long the other process may take for its share when this one has drawn its own."""

# Neither multiprocessing, which would run the caller's main module once more, nor a folder of the caller's to import from.
_START = "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); from {} import answer; answer()"


def shares(pictures: Sequence[Picture]) -> tuple[Sequence[Picture], Sequence[Picture]]:
    """Return which of `pictures` to draw here and which `Beside`, none of them where they are few or the core is one."""
    if len(pictures) < _FEWEST or usable_cores() < 2:
        return pictures, ()
    here = round(len(pictures) * (1 - _SHARE))
    return pictures[:here], pictures[here:]


class Beside:
    """Draws `pictures` in a process of its own, for as long as the block lasts."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self._pictures = pictures
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Beside:
        """Start drawing."""
        if self._pictures:
            self._answer = tempfile.TemporaryFile()
            with suppress(OSError):
                self._process = self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process, whether it is done or not."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._pictures:
            self._answer.close()

    def files(self) -> dict[str, bytes]:
        """Return the files as `draw` does, which draws here what the process could not."""
        files: dict[str, bytes] | None = None
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired, pickle.UnpicklingError, EOFError):
                if self._process.wait(_PATIENCE_S) == 0:
                    self._answer.seek(0)
                    files = pickle.load(self._answer)
        return draw(self._pictures) if files is None else files

    def _start(self) -> subprocess.Popen[bytes]:
        # Files, not pipes: neither side waits for the other to read.
        with tempfile.TemporaryFile() as question:
            pickle.dump(sys.path, question)
            pickle.dump(self._pictures, question)
            question.seek(0)
            return subprocess.Popen(
                [sys.executable, "-I", "-c", _START.format(__name__)],
                stdin=question,
                stdout=self._answer,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for this process, which then ends that one
            )


def answer() -> None:
    """Draw the pictures that come in on standard input and give out their files."""
    pickle.dump(draw(pickle.load(sys.stdin.buffer)), sys.stdout.buffer)
