"""Keep folders with checksums beside what is expensive to make, so that damage is noticed and it is made again."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from kdbench.errors import UsageError
from kdbench.utils.files import (
    JsonModel,
    folder_atomically,
    read_json_file,
    remove_folder,
    remove_temporary,
    sha256,
    write_atomically,
)
from kdbench.utils.locks import locked
from kdbench.utils.remarks import remark

CHECKSUMS = "checksums.json"


class Checksum(JsonModel):
    """The size and hash of a file."""

    bytes: int
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


def _inside(name: str) -> str:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise ValueError("leads out of the folder")
    return name


_Inside = Annotated[str, AfterValidator(_inside)]


class Checksums(JsonModel):
    """The files of a folder when it was written, by their paths in it."""

    schema_version: Literal[1] = 1
    files: dict[_Inside, Checksum]


@contextmanager
def sealed_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces `path`, with checksums of its files, if the block succeeds."""
    with folder_atomically(path) as partial:
        yield partial
        seal(partial)


def seal(folder: Path, names: Collection[str] | None = None, file: Path | None = None) -> None:
    """Write the checksums of the files `names` in `folder`, by default of all, to `file`, by default to one in the folder."""
    sums = {
        name: Checksum(bytes=(folder / name).stat().st_size, sha256=sha256(folder / name))
        for name in sorted(_files(folder) if names is None else names)
    }
    write_atomically(file or folder / CHECKSUMS, Checksums(files=sums).model_dump_json(indent=1) + "\n")


def damage(folder: Path, *, sizes_only: bool = False, file: Path | None = None) -> dict[str, str]:
    """Return for each file of a sealed folder that is not what was written why, by its path in `folder`.

    In a folder of an earlier version, without checksums, only an empty file counts as damaged: that is what a power cut
    leaves of a file that was not forced to the disk.

    Args:
        folder: the folder, which exists.
        sizes_only: whether to read no file, so that a change within a file goes unnoticed.
        file: the file of the checksums, by default one in the folder.
    """
    file = file or folder / CHECKSUMS
    if not file.is_file():
        return {name: "is empty" for name in _files(folder) if (folder / name).stat().st_size == 0}
    sums, _ = read_json_file(Checksums, file)
    if sums is None:
        return {file.name: "is damaged"}
    found = {name: _difference(folder / name, expected, sizes_only) for name, expected in sums.files.items()}
    return {name: reason for name, reason in found.items() if reason is not None}


def _difference(path: Path, expected: Checksum, sizes_only: bool) -> str | None:
    try:
        size = os.stat(path).st_size
        if size != expected.bytes:
            return f"has {size:,} bytes instead of {expected.bytes:,}"
        return (
            None if sizes_only or sha256(path) == expected.sha256 else "has another content than was written"
        )
    except OSError as error:
        return "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"


def described_damage(damaged: dict[str, str]) -> str:
    """Return what `damage` found as text: the first file, and how many more there are."""
    (name, reason), *others = damaged.items()
    return f"{name} {reason}" + (f", and {len(others)} more" if others else "")


def delete_damaged(folder: Path, damaged: Collection[str]) -> None:
    """Delete the `damaged` files of `folder`, but not the list of all, by which they are missed from now on."""
    for name in damaged:
        parents = (folder / name).resolve().parents  # a link may lead elsewhere
        if name != CHECKSUMS and folder.resolve() in parents:
            (folder / name).unlink(missing_ok=True)


def discard_damaged(folder: Path, what: str | None) -> bool:
    """Delete a sealed folder that is damaged, and return whether it was.

    The user is told that `what` is made again, unless it is None.
    """
    damaged = damage(folder) if folder.is_dir() else {}
    if damaged and what is not None:
        remark(f"{what} is made again, since {folder / described_damage(damaged)}")
    if damaged:
        remove_folder(folder)
    return bool(damaged)


def build_once(folder: Path, build: Callable[[Path], object]) -> Path:
    """Return `folder`; unless it exists whole, create it by `build`, which is called with an empty folder to write to.

    Raises:
        UsageError: the disk is full or the folder is not writable; no incomplete folder is left behind.
    """
    if _is_sealed(folder) and not damage(folder):
        return folder
    try:
        with locked(folder.with_name(f"{folder.name}.lock")):
            if not discard_damaged(folder, "a cache") and not _is_sealed(folder):
                remove_folder(folder)  # of an earlier version, or without its checksums
            if not folder.is_dir():
                remove_temporary(folder.parent, f"{folder.name}.*")  # safe under the lock
                with sealed_folder(folder) as partial:
                    build(partial)
    except OSError as error:
        raise UsageError(
            f"cannot write {folder}: {error.strerror or error}; make room there or set KDBENCH_CACHE to another folder"
        ) from error
    return folder


def _is_sealed(folder: Path) -> bool:
    return (folder / CHECKSUMS).is_file()


def _files(folder: Path) -> list[str]:
    """Return the paths in `folder` of all files but that of the checksums."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path != folder / CHECKSUMS)
    return [path.relative_to(folder).as_posix() for path in paths]
