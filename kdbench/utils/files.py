"""Write files and folders so that they survive a power cut, hash them, and read JSON files into pydantic models."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from kdbench.errors import UsageError, shown
from kdbench.utils.formatting import on_one_line
from kdbench.utils.plain_files import plain_file, read_plain
from kdbench.utils.system import gc_paused

_TEMPORARY = ".kdbench-partial"
"""The end of the names of unfinished writes; no file of a user ends so."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` (text as UTF-8) to `path`, which is the old or the new file at any moment, even of a power cut."""
    make_folder(path.parent)
    partial = _temporary(path)
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        put_in_place(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def folder_atomically(path: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces `path` if the block succeeds, and is deleted otherwise."""
    make_folder(path.parent)
    partial = _temporary(path)
    partial.mkdir()
    try:
        yield partial
        remove_folder(path)
        put_in_place(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def put_in_place(partial: Path, path: Path) -> None:
    """Rename `partial`, a file or a folder with all that is in it, to `path`, and force both to the disk.

    What a system has written may be only in its memory for half a minute, and a new name may reach the disk before what
    it names. Here everything is forced in the order in which it must survive a power cut.
    """
    for inside in (*partial.rglob("*"), partial):
        force(inside)
    partial.replace(path)
    force(path.parent)


def make_folder(path: Path) -> None:
    """Make the folder `path` and its parents unless they exist, and force their names to the disk."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        force(path.parent)


def remove_folder(path: Path) -> None:
    """Delete the folder `path`, if it exists; whoever is killed meanwhile leaves it whole or under a temporary name."""
    aside = _temporary(path)
    with suppress(FileNotFoundError):
        path.replace(aside)
        shutil.rmtree(aside, ignore_errors=True)


def force(path: Path) -> None:
    """Force the content of a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot do this with folders
            raise
    finally:
        os.close(handle)


def _temporary(path: Path) -> Path:
    """Return an unused path beside `path`; random, as processes on several machines may have the same number."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}{_TEMPORARY}")


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Yield an empty folder below `parent`, deleted after the block; if the process is killed, `remove_temporary` deletes it."""
    make_folder(parent)
    with tempfile.TemporaryDirectory(dir=parent, suffix=_TEMPORARY) as folder:
        yield Path(folder)


def temporary_beside(path: Path) -> Path:
    """Return where something that several processes make before `path` is written may lie; see `remove_temporary`."""
    return path.with_name(f"{path.name}{_TEMPORARY}")


def is_temporary(path: Path) -> bool:
    """Return whether `path` is an unfinished or interrupted write."""
    return path.name.endswith(_TEMPORARY)


def remove_temporary(folder: Path, *patterns: str) -> None:
    """Delete the remains of interrupted writes among the files and folders in `folder` that match one of `patterns`."""
    for path in [path for pattern in patterns for path in folder.glob(f"{pattern}{_TEMPORARY}")]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


_LONGEST_NAME = 255
"""Bytes of the name of a file or folder."""


def user_path(text: str | Path) -> Path:
    """Return the path that a user wrote, with ``~`` replaced by the home folder.

    Raises:
        UsageError: no file can have this path, or nothing is known of that home folder.
    """
    if "\0" in str(text):
        raise UsageError(f"the path {shown(str(text))} has a NUL character; correct it")
    if any(len(part.encode("utf-8", "surrogatepass")) > _LONGEST_NAME for part in Path(text).parts):
        raise UsageError(
            f"the path {shown(str(text))} has a name of more than {_LONGEST_NAME} bytes; correct it"
        )
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(f"{text}: the home folder is unknown; write the full path") from None


def sha256(path: Path) -> str:
    """Return the SHA-256 of the file at `path` in hexadecimal; a process reads an unchanged file once.

    Raises:
        OSError: it cannot be read, or is a pipe or a device, which may have no end.
    """
    real = plain_file(path)
    status = real.stat()
    if abs(time.time() - status.st_mtime) < _RECENT_S:
        return _digest(real)
    return _known_digest(real, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


_RECENT_S = 2.0
"""A file that was written so recently may change again without another time of change."""


@lru_cache(maxsize=4096)
def _known_digest(path: Path, *status: int) -> str:
    """Return the SHA-256 of the file at `path`, which has this `status`."""
    return _digest(path)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def folder_bytes(folder: Path) -> int:
    """Return the size of all files below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def content_hash(content: object) -> str:
    """Return 20 hexadecimal digits of the SHA-256 of `content`'s canonical JSON."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:20]


class JsonModel(BaseModel):
    """Base of the models of JSON files: immutable, without unknown fields and infinite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    largest_bytes: ClassVar[int] = 64 << 20
    """The largest file that is read as one."""
    outdated: ClassVar[str | None] = None
    """What to say of a file of an earlier schema that is not read any more."""

    def misplaced(self, path: Path) -> str | None:
        """Return why this content does not belong in the file at `path`, or None if it does."""
        return None


_T = TypeVar("_T", bound=JsonModel)


def load_json_files(kind: type[_T], folder: Path, within: Path | None = None) -> tuple[list[_T], list[str]]:
    """Read all files of `folder`, sorted by name; return the valid items and a message for each file that is not a `kind`.

    A file that lies outside of `within`, if given, is not read.
    """
    items, problems = [], []
    with gc_paused():
        for path in sorted(folder.glob("*")):
            item, problem = read_json_file(kind, path, within)
            if item is not None:
                items.append(item)
            elif problem is not None:
                problems.append(f"skipped {path}: {problem}")
    return items, problems


def read_json_file(kind: type[_T], path: Path, within: Path | None = None) -> tuple[_T | None, str | None]:
    """Read the file at `path` as a `kind`; return the item, or else why it is invalid, or neither for an unfinished write."""
    if is_temporary(path):
        return None, None
    try:
        content = read_plain(path, kind.largest_bytes, within)
    except OSError as error:
        return None, f"cannot be read ({error.strerror})"
    item, problem = parse_json(kind, content)
    misplaced = None if item is None else item.misplaced(path)
    return (item, problem) if misplaced is None else (None, misplaced)


def parse_json(kind: type[_T], content: bytes) -> tuple[_T | None, str | None]:
    """Parse the JSON text `content` as a `kind`; return the item, or else why it is invalid."""
    if len(content) > kind.largest_bytes:
        return None, f"has {len(content):,} bytes, more than the limit of {kind.largest_bytes:,}"
    try:
        item = kind.model_validate_json(content, strict=True)  # a number as text would evade `_moderate`
        json.loads(
            content,
            object_pairs_hook=_unique,
            parse_int=_moderate,
            parse_float=_moderate,
            parse_constant=_moderate,
        )
        return item, None
    except (_AmbiguousError, RecursionError) as error:
        return None, str(error) or "its objects are nested too deeply"
    except ValidationError as error:
        first = error.errors()[0]
        if (
            kind.outdated is not None
            and first["loc"] == ("schema_version",)
            and first["input"] in (None, *range(100))
        ):
            return None, kind.outdated
        place = ".".join(str(part) for part in first["loc"])
        version = kind.model_fields.get("schema_version")
        schema = f" of schema {version.default}" if version else ""
        problem = f"no {kind.__name__.lower()}{schema} ({place or 'file'}: {first['msg']})"
        return None, on_one_line(problem, _LONGEST_PROBLEM)  # a key may be a whole file


_LONGEST_PROBLEM = 250
"""Characters."""


class _AmbiguousError(ValueError):
    """JSON that readers understand differently."""


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise _AmbiguousError(f"an object has the key {repeated[:100]!r} twice")
    return content


_LARGEST_NUMBER = 1e18
"""Tables hold integers below 2 ** 63; sums and squares of numbers below this one are finite."""


def _moderate(number: str) -> float:
    value = float(number)
    if value != value:
        raise _AmbiguousError("a number is NaN, which nobody measures")
    if abs(value) > _LARGEST_NUMBER:
        raise _AmbiguousError(f"the number {number[:40]} is larger than any that is measured")
    return value
