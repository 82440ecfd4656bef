"""A disk that loses power: of what a process wrote, it keeps only what that forced to the disk, or what luck adds."""

from __future__ import annotations

import json
import os
import random
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Disk:
    """The folders of `roots`, of which `cut` takes what no `recorded` process has forced to the disk.

    A name and a content are forced apart: `os.fsync` of a file forces its content, that of a folder its names. Without,
    either may survive or not. A file that was replaced or deleted may be back, since `recorded` keeps it aside.
    Only Python's own calls are seen; what a library forces by itself counts as not forced.
    """

    def __init__(self, aside: Path, *roots: Path) -> None:
        self._aside = aside
        self._aside.mkdir(parents=True, exist_ok=True)
        self._roots = [root.resolve() for root in roots]
        for root in self._roots:
            root.mkdir(parents=True, exist_ok=True)

    def settle(self) -> None:
        """Begin anew: all that is there is on the disk."""
        for path in self._aside.iterdir():
            path.unlink()
        with self._journal.open("a") as journal:
            for root in self._roots:
                for path in (root, *root.rglob("*")):
                    journal.write(json.dumps(_seen(path)) + "\n")

    @property
    def _journal(self) -> Path:
        return self._aside / "journal"

    @contextmanager
    def recorded(self, on_event: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Record what this process forces to the disk in the block; call `on_event` around each such step."""
        fsync, replace, unlink = os.fsync, os.replace, os.unlink
        journal = os.open(self._journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

        def recording_fsync(file: Any) -> None:
            on_event()
            fsync(file)
            on_event()
            number = file if isinstance(file, int) else file.fileno()
            path = Path(os.readlink(f"/proc/self/fd/{number}"))
            os.write(journal, json.dumps(_seen(path)).encode() + b"\n")

        def recording_replace(source: Any, target: Any, **where: Any) -> None:
            self._keep(target)
            on_event()
            replace(source, target, **where)
            on_event()

        def recording_unlink(path: Any, *, dir_fd: int | None = None) -> None:
            self._keep(path, dir_fd)
            unlink(path, dir_fd=dir_fd)
            on_event()

        os.fsync, os.replace, os.unlink = recording_fsync, recording_replace, recording_unlink
        try:
            yield
        finally:
            os.fsync, os.replace, os.unlink = fsync, replace, unlink
            os.close(journal)

    def _keep(self, path: Any, folder: int | None = None) -> None:
        """Keep the file at `path`, which is about to vanish, under its number."""
        try:
            status = os.stat(path, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                os.link(path, self._aside / str(status.st_ino), src_dir_fd=folder)
        except OSError:  # it does not exist, or was kept before
            pass

    def cut(self, draw: random.Random) -> list[str]:
        """Cut the power, with no process running any more; return what was lost, for messages."""
        self._contents: dict[int, list[int]] = {}
        self._names: dict[int, dict[str, int]] = {}
        for line in self._journal.read_text().splitlines():
            seen = json.loads(line)
            if "names" in seen:
                self._names[seen["number"]] = seen["names"]
            elif "content" in seen:
                self._contents[seen["number"]] = seen["content"]
        lost: list[str] = []
        for root in self._roots:
            self._cut_folder(root, draw, lost)
        self.settle()
        return lost

    def _cut_folder(self, folder: Path, draw: random.Random, lost: list[str]) -> None:
        forced = self._names.get(folder.stat().st_ino, {})
        for name, number in forced.items():
            path, kept = folder / name, self._aside / str(number)
            if kept.exists() and (not path.exists() or path.stat().st_ino != number) and draw.random() < 0.5:
                kept.replace(path)
                lost.append(f"{path} is as before")
        for path in list(folder.iterdir()):
            status = path.lstat()
            if path.name not in forced and draw.random() < 0.5:
                _remove(path)
                lost.append(f"{path} has no name")
            elif stat.S_ISDIR(status.st_mode):
                self._cut_folder(path, draw, lost)
            elif self._contents.get(status.st_ino) != [status.st_size, status.st_mtime_ns]:
                left = draw.choice((0, 0, status.st_size // 2, status.st_size))
                if left < status.st_size:
                    os.truncate(path, left)
                    lost.append(f"{path} has {left} of {status.st_size} bytes")


def _seen(path: Path) -> dict[str, Any]:
    """Return what of `path` is on the disk once it is forced there."""
    try:
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            names = {entry.name: entry.inode() for entry in os.scandir(path)}
            return {"number": status.st_ino, "names": names}
        return {"number": status.st_ino, "content": [status.st_size, status.st_mtime_ns]}
    except OSError:  # it has been renamed or deleted since
        return {}


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for inside in path.iterdir():
            _remove(inside)
        path.rmdir()
    else:
        path.unlink()
