"""A part of a large board's work in a process of its own, while this one does another part."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, TypeVar

from kdbench.workers import usable_cores

_PATIENCE_S = 120.0
"""How long the other process may take for its part when this one has done its own."""

# Neither multiprocessing, which would run the caller's main module once more, nor a folder of the caller's to import from.
_START = "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); from {} import answer; answer()"

T = TypeVar("T")
_Item = TypeVar("_Item")


def parts(items: Sequence[_Item], there: float) -> tuple[Sequence[_Item], Sequence[_Item]]:
    """Return which of `items` to do here and which in a `SecondProcess`: none where there is one core.

    Args:
        items: what is to be done, each about as long.
        there: the part for the other process.
    """
    if usable_cores() < 2:
        return items, ()
    here = round(len(items) * (1 - there))
    return items[:here], items[here:]


class SecondProcess:
    """A process that is started when it is first asked, and ended with the block."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = ThreadPoolExecutor(1)

    def __enter__(self) -> SecondProcess:
        """Start nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process, whatever it does."""
        self._kill()
        self._reader.shutdown()  # with the process its answer has ended
        for pipe in (self._process.stdin, self._process.stdout) if self._process else ():
            assert pipe is not None
            with suppress(OSError):  # of what the process has not read
                pipe.close()

    def ask(self, function: Callable[..., T], *arguments: Any) -> Asked[T]:
        """Have `function`, of a module, called with `arguments`; they and what it returns are pickled."""
        answer = None
        with suppress(OSError):  # none could be started, or it is gone
            if self._process is None:
                self._process = _started()
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            pickle.dump((function, arguments), self._process.stdin)
            self._process.stdin.flush()
            answer = self._reader.submit(pickle.load, self._process.stdout)
        return Asked(self, answer, function, arguments)

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Asked(Generic[T]):
    """What a process was asked, and will answer."""

    def __init__(
        self,
        process: SecondProcess,
        answer: Future[T] | None,
        function: Callable[..., T],
        arguments: tuple[Any, ...],
    ) -> None:
        self._process = process
        self._answer = answer
        self._function = function
        self._arguments = arguments

    def result(self) -> T:
        """Return what the function returns; where the process comes to nothing, it is called here."""
        if self._answer is not None:
            try:
                return self._answer.result(_PATIENCE_S)
            except FutureTimeoutError:
                self._process._kill()
            except (pickle.UnpicklingError, EOFError):
                pass
        return self._function(*self._arguments)


def _started() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", _START.format(__name__)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for this process, which then ends that one
    )
    assert process.stdin is not None
    pickle.dump(sys.path, process.stdin)
    return process


def answer() -> None:
    """Answer what comes in on standard input until it ends."""
    while True:
        try:
            function, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(function(*arguments), sys.stdout.buffer)
        sys.stdout.buffer.flush()
