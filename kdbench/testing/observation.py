"""Observe what a strategy does to its process: connections, threads, processes, files, random and global state."""

from __future__ import annotations

import os
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psutil
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

_SEEDERS = ("torch", "numpy", "random", "transformers")
"""The packages whose functions seed a generator on behalf of their caller."""
_HARMLESS_THREADS = ("tqdm_monitor",)
"""Threads that libraries keep for the rest of the process."""
_SET_BY_LIBRARIES = ("KMP_",)
"""How the names of variables begin that libraries set when they are imported."""
_GRACE_S = 0.5
"""How long threads and processes may take to end."""


@dataclass
class Observation:
    """What was seen; each list has one entry per kind of thing, as text for a message."""

    losses: list[float] = field(default_factory=list)
    """The losses of the training steps."""
    optimizer_steps: int = 0
    """Steps of any torch optimizer, whoever made them."""
    connections: list[str] = field(default_factory=list)
    """The addresses that a connection was tried to; each was refused."""
    seeded: list[str] = field(default_factory=list)
    """The places that seeded a global random generator."""
    changed: list[str] = field(default_factory=list)
    """The global settings that are not what they were."""
    threads: list[str] = field(default_factory=list)
    processes: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    """What was left in the working folder and the folder of temporary files."""

    def report(self, phase: str, step: int, steps: int, loss: float | None) -> None:
        """Take a progress report of a bench."""
        if loss is not None:
            self.losses.append(loss)


@contextmanager
def observed(folder: Path, seeds: Collection[int] = ()) -> Iterator[Observation]:
    """Observe the block, which runs in empty folders within `folder`; afterwards the global settings are as before.

    Args:
        seeds: those by which the block may seed a global generator.
    """
    seen = Observation()
    settings, environment = _read_settings(), dict(os.environ)
    threads, processes = _threads(), _children()
    with ExitStack() as stack:
        working, temporary = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder))) for _ in range(2)
        )
        stack.enter_context(_inside(working, temporary))
        stack.enter_context(_refusing_connections(seen))
        stack.enter_context(_noting_seeds(seen, seeds))
        handle = register_optimizer_step_post_hook(lambda *_: _count_step(seen))
        stack.callback(handle.remove)
        try:
            yield seen
        finally:
            seen.changed = [*_restore_settings(settings), *_restore_environment(environment)]
            seen.threads = [thread.name for thread in _lasting(lambda: _threads() - threads)]
            seen.processes = [_command(process) for process in _lasting(lambda: _children() - processes)]
            seen.files = sorted(path.name for place in (working, temporary) for path in place.iterdir())


def _count_step(seen: Observation) -> None:
    seen.optimizer_steps += 1


def calling(*skipped: str) -> tuple[str, str]:
    """Return who called the caller of this function: the name of its package, and its place for a message.

    Callers in the packages `skipped` are passed over.
    """
    frame = sys._getframe(2)
    while frame.f_back is not None and _package(frame) in skipped:
        frame = frame.f_back
    return _package(frame), f"{frame.f_code.co_filename}, line {frame.f_lineno}"


def _package(frame: Any) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


_SETTINGS: Mapping[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": (torch.get_default_device, torch.set_default_device),
    "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
    "torch's gradient mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch's deterministic mode": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    "torch's float32 matmul precision": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "numpy's error handling": (np.geterr, lambda handling: np.seterr(**handling)),
}
"""The global settings that a strategy must leave alone: how each is read and set."""


def _read_settings() -> dict[str, Any]:
    return {name: read() for name, (read, _) in _SETTINGS.items()}


def _restore_settings(before: Mapping[str, Any]) -> list[str]:
    """Set what differs from `before` as it was, and return its names."""
    changed = [name for name, value in _read_settings().items() if value != before[name]]
    for name in changed:
        _SETTINGS[name][1](before[name])
    return changed


def _restore_environment(before: Mapping[str, str]) -> list[str]:
    """Set the environment as it was `before`, and return the variables that differed."""
    changed = [
        name
        for name in sorted({*before, *os.environ})
        if os.environ.get(name) != before.get(name) and not name.startswith(_SET_BY_LIBRARIES)
    ]
    for name in changed:
        if name in before:
            os.environ[name] = before[name]
        else:
            del os.environ[name]
    return [f"the environment variable {name}" for name in changed]


@contextmanager
def _inside(working: Path, temporary: Path) -> Iterator[None]:
    """Make `working` the working folder and `temporary` the folder of Python's temporary files."""
    before = os.getcwd(), tempfile.tempdir
    os.chdir(working)
    tempfile.tempdir = str(temporary)
    try:
        yield
    finally:
        os.chdir(before[0])
        tempfile.tempdir = before[1]


@contextmanager
def _refusing_connections(seen: Observation) -> Iterator[None]:
    """Refuse what would reach a network; sockets within this machine's file system still work."""

    def refuse(address: object) -> None:
        seen.connections.append(str(address))
        raise OSError("connections are refused while a plugin is checked")

    def connect(self: socket.socket, address: object) -> None:
        if self.family == getattr(socket, "AF_UNIX", None):
            socket._socket.socket.connect(self, address)  # type: ignore[attr-defined]
        else:
            refuse(address)

    def look_up(host: object, *_: object, **__: object) -> None:
        refuse(host)

    with (
        patch.object(socket.socket, "connect", connect),
        patch.object(socket.socket, "connect_ex", connect),
        patch.object(socket, "getaddrinfo", look_up),
    ):
        yield


@contextmanager
def _noting_seeds(seen: Observation, seeds: Collection[int]) -> Iterator[None]:
    """Note who seeds a global generator, except by one of `seeds` or within `torch.random.fork_rng`; the harness may."""
    inside_fork = 0
    fork = torch.random.fork_rng

    @contextmanager
    def forked(*arguments: Any, **named: Any) -> Iterator[None]:
        nonlocal inside_fork
        inside_fork += 1
        try:
            with fork(*arguments, **named):
                yield
        finally:
            inside_fork -= 1

    def noting(seed: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **named: Any) -> Any:
            package, place = calling(*_SEEDERS)
            given = [value for value in (*arguments, *named.values()) if value in seeds]
            if package != "kdbench" and not inside_fork and not given:
                seen.seeded.append(place)
            return seed(*arguments, **named)

        return noted

    with (
        patch.object(random, "seed", noting(random.seed)),
        patch.object(np.random, "seed", noting(np.random.seed)),
        patch.object(torch, "manual_seed", noting(torch.manual_seed)),
        patch.object(torch.random, "fork_rng", forked),
    ):
        yield


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name not in _HARMLESS_THREADS}


def _children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def _command(process: psutil.Process) -> str:
    """Return the command of `process`, or its name alone if it has ended and nobody has waited for it."""
    try:
        return " ".join(process.cmdline()[:3]) or process.name()
    except psutil.Error:
        return f"process {process.pid}"


def _lasting(present: Callable[[], set[Any]]) -> list[Any]:
    """Return what is `present` and does not go away by itself within the time of grace."""
    end = time.monotonic() + _GRACE_S
    while (left := present()) and time.monotonic() < end:
        time.sleep(0.02)
    return list(left)
