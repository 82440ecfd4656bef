"""A large board's work, shared between this process and a second one."""

from __future__ import annotations

import importlib
import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from types import TracebackType
from typing import Generic, TypeVar

from kdbench.utils.system import usable_cores

_PATIENCE_S = 120.0
"""How long the other process may take for its last item when this one has done its own."""

# Neither multiprocessing, which would run the caller's main module once more, nor a folder of the caller's to import from.
_START = "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); from {} import answer; answer()"

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class SecondProcess:
    """A process that takes a part of this one's work once it is started, and is ended with the block."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> SecondProcess:
        """Start nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process, whatever it does."""
        self.end()
        self._thread.shutdown()  # with the process its answer has ended
        for pipe in (self._process.stdin, self._process.stdout) if self._process else ():
            assert pipe is not None
            with suppress(OSError):  # of what the process has not read
                pipe.close()

    def start(self, *modules: str) -> None:
        """Start the process, where there is a core for it, and have it load `modules` while this one goes on."""
        if self._process is not None or usable_cores() < 2:
            return
        with suppress(OSError):  # none can be started: everything is done here
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _START.format(__name__)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for this process, which then ends that one
            )
            self._thread.submit(self._load, modules)

    def share(self, function: Callable[[Item], Answer], items: Iterable[Item]) -> Shared[Item, Answer]:
        """Have the process, if there is one, begin to work off `items` from the last on; they and answers are pickled.

        Args:
            function: of a module; what is done with an item.
            items: each a piece of work, the first ones for this process.
        """
        return Shared(function, items, self)

    def submit(self, work: Callable[[], None]) -> Future[None] | None:
        """Have `work`, which calls the process, done by a thread after what was submitted before; None without a process."""
        return None if self._process is None else self._thread.submit(work)

    def call(self, function: Callable[[Item], Answer], item: Item) -> Answer:
        """Return what the process answers.

        Raises:
            Exception: it came to nothing, for whatever reason; the process is ended.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(pickle.dumps((function, item)))
            self._process.stdin.flush()
            answer: Answer = pickle.load(self._process.stdout)
        except BaseException:
            self.end()
            raise
        return answer

    def _load(self, modules: Iterable[str]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(Exception):  # the next call tells
            self._process.stdin.write(pickle.dumps(sys.path))
            self.call(_import, modules)

    def end(self) -> None:
        """End the process, if there is one; what it was at fails."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Shared(Generic[Item, Answer]):
    """Items that two processes work off from both ends, until they meet."""

    def __init__(
        self, function: Callable[[Item], Answer], items: Iterable[Item], second: SecondProcess
    ) -> None:
        self._function = function
        self._waiting = deque(enumerate(items))
        self._answers: dict[int, Answer] = {}
        self._second = second
        self._there = second.submit(self._work_there)

    def results(self) -> list[Answer]:
        """Work here until no item waits, and return all answers in the order of the items."""
        self._work_here()
        if self._there is not None and not self._there.cancel():  # or it has not begun: it is still loading
            try:
                self._there.result(_PATIENCE_S)
            except FutureTimeoutError:
                self._second.end()
                self._there.result()
            self._work_here()
        return [answer for _, answer in sorted(self._answers.items())]

    def _work_there(self) -> None:
        """Have the other process work as long as an item waits, or until it fails at one, which then waits again."""
        while (taken := _taken(self._waiting.pop)) is not None:
            place, item = taken
            try:
                self._answers[place] = self._second.call(self._function, item)
            except (
                Exception
            ):  # it ended, or this cannot be pickled: done here, where an error of the work is raised
                self._waiting.append(taken)
                return

    def _work_here(self) -> None:
        while (taken := _taken(self._waiting.popleft)) is not None:
            place, item = taken
            self._answers[place] = self._function(item)


def _taken(take: Callable[[], Item]) -> Item | None:
    """Return what one of two threads gets of what they share, or None where nothing is left."""
    try:
        return take()
    except IndexError:
        return None


def _import(modules: Iterable[str]) -> None:
    for module in modules:
        importlib.import_module(module)


def answer() -> None:
    """Answer what comes in on standard input until it ends."""
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a plugin prints is no answer
        while True:
            try:
                function, item = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            pickle.dump(function(item), answers)
            answers.flush()
