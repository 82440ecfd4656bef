"""Share the work on a large board between this process and a second one."""

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

_TIMEOUT_S = 120.0
"""How long the second process may take for its last item once this one has finished its own."""

# Not multiprocessing, which would run the caller's main module again, and without the caller's folder on the path.
_START = "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); from {} import answer; answer()"

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class SecondProcess:
    """A process that does part of this one's work once it is started, and is ended with the block."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> SecondProcess:
        """Return this object; `start` starts the process."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process, even while it works."""
        self.end()
        self._thread.shutdown()  # its pending call ended with the process
        for pipe in (self._process.stdin, self._process.stdout) if self._process else ():
            assert pipe is not None
            with suppress(OSError):  # from data that the process has not read
                pipe.close()

    def start(self, *modules: str) -> None:
        """Start the process if a core is free for it, and let it load `modules` while this one continues."""
        if self._process is not None or usable_cores() < 2:
            return
        with suppress(OSError):  # it cannot be started: all work is done here
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _START.format(__name__)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the other
            )
            self._thread.submit(self._load, modules)

    def share(self, function: Callable[[Item], Answer], items: Iterable[Item]) -> Shared[Item, Answer]:
        """Let the process, if there is one, start on `items` from the last one; items and answers are pickled.

        Args:
            function: a module-level function, which is applied to each item.
            items: the pieces of work; this process starts with the first.
        """
        return Shared(function, items, self)

    def submit(self, work: Callable[[], None]) -> Future[None] | None:
        """Queue `work`, which calls the process, for the thread that talks to it; None without a process."""
        return None if self._process is None else self._thread.submit(work)

    def call(self, function: Callable[[Item], Answer], item: Item) -> Answer:
        """Return the process's answer.

        Raises:
            Exception: the call failed, for whatever reason; the process is ended.
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
        with suppress(Exception):  # the next call fails, too
            self._process.stdin.write(pickle.dumps(sys.path))
            self.call(_import, modules)

    def end(self) -> None:
        """End the process, if there is one; its pending call fails."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Shared(Generic[Item, Answer]):
    """Items that two processes take from both ends until they meet."""

    def __init__(
        self, function: Callable[[Item], Answer], items: Iterable[Item], second: SecondProcess
    ) -> None:
        self._function = function
        self._waiting = deque(enumerate(items))
        self._answers: dict[int, Answer] = {}
        self._second = second
        self._remote = second.submit(self._work_remotely)

    def results(self) -> list[Answer]:
        """Process items here until none is left, and return all answers in the order of the items."""
        self._work_locally()
        if self._remote is not None and not self._remote.cancel():  # cancelled while it still loads modules
            try:
                self._remote.result(_TIMEOUT_S)
            except FutureTimeoutError:
                self._second.end()
                self._remote.result()
            self._work_locally()
        return [answer for _, answer in sorted(self._answers.items())]

    def _work_remotely(self) -> None:
        """Let the second process work until no item is left or it fails at one, which is then put back."""
        while (entry := _pop(self._waiting.pop)) is not None:
            place, item = entry
            try:
                self._answers[place] = self._second.call(self._function, item)
            except (
                Exception
            ):  # it ended, or the item cannot be pickled: done here, where the work's errors are raised
                self._waiting.append(entry)
                return

    def _work_locally(self) -> None:
        while (entry := _pop(self._waiting.popleft)) is not None:
            place, item = entry
            self._answers[place] = self._function(item)


def _pop(pop: Callable[[], Item]) -> Item | None:
    """Return the next entry of a queue that two threads share, or None where it is empty."""
    try:
        return pop()
    except IndexError:
        return None


def _import(modules: Iterable[str]) -> None:
    for module in modules:
        importlib.import_module(module)


def answer() -> None:
    """Answer the calls that arrive on standard input until it ends."""
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a plugin prints must not mix with answers
        while True:
            try:
                function, item = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            pickle.dump(function(item), answers)
            answers.flush()
