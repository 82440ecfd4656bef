"""Build a task from the user's own files or from a data set of the hub, without code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any

from kdbench.api.kind import factorize
from kdbench.api.task import Example, HubSource, LocalSource, Opened, Source, Splits, Task, TaskKind
from kdbench.config import TaskTable
from kdbench.data.hub import read_hub
from kdbench.data.loading import ExampleCheck
from kdbench.data.readers import read_conll, read_delimited, read_jsonl, read_parquet, readable
from kdbench.data.splitting import Mask, hold_out, stratified_order
from kdbench.data.tagging import TagError, detect_scheme, iob2_labels, to_iob2
from kdbench.errors import UsageError, shown
from kdbench.utils.files import content_hash, sha256
from kdbench.utils.sealed import build_once

Rows = Iterator[tuple[str, dict[str, Any]]]
"""Each row's location, as named in error messages, and its values by column."""

_DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_JSON_LINES = {".jsonl", ".ndjson", ".json"}
_COLUMN_FILES = {".conll", ".bio", ".iob", ".iob2", ".txt", ".train", ".dev", ".test"}
_COMPRESSED = {".gz", ".bz2"}


def file_rows(path: Path, table: TaskTable) -> Rows:
    """Return the rows of a file, whose format is determined by its suffix.

    Raises:
        UsageError: the suffix is unknown, or the file does not have its format; names the remedy.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in _COMPRESSED]
    suffix = suffixes[-1] if suffixes else ""
    columns = columns_of(table)
    tokens = table.kind.per_word
    if suffix in _JSON_LINES:
        return read_jsonl(path, columns)
    if suffix == ".parquet":
        return read_parquet(path, columns)
    if suffix in _COLUMN_FILES and tokens:
        return _column_rows(path, table)
    if suffix in _DELIMITERS and not tokens:
        return read_delimited(
            path, columns, delimiter=table.delimiter or _DELIMITERS[suffix], quoted=table.quotes
        )
    known = [".jsonl", ".parquet", *([".conll"] if tokens else [".csv", ".tsv"])]
    other = ", or set --kind token-classification for words and tags" if suffix in _COLUMN_FILES else ""
    raise UsageError(
        f"{path}: a {table.kind} task is read from {', '.join(known)} files; convert it, or rename it{other}"
    )


def columns_of(table: TaskTable) -> tuple[str, ...]:
    """Return the columns that `table` reads."""
    group = (table.group,) if table.group else ()
    return (*table.text_columns, *table.label_columns, *group)


def _column_rows(path: Path, table: TaskTable) -> Rows:
    word, tag = (
        _column_number(path, column, default) for column, default in ((table.text, 0), (table.label, -1))
    )
    if table.group:
        raise UsageError(f"{path} has no column for a group; use JSON Lines, or leave group out")
    for where, words, tags in read_conll(path, word=word, tag=tag):
        yield where, {table.text_columns[0]: words, table.label_columns[0]: tags}


def _column_number(path: Path, column: int | str | tuple[str, ...], default: int) -> int:
    (name,) = column if isinstance(column, tuple) else (column,)
    try:
        return default if name == "" else int(name)
    except ValueError:
        raise UsageError(
            f"{path} has no column names, such as {name!r}; give text and label as numbers, counted from 0"
        ) from None


_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_FRACTION = re.compile(r"[+-]?(\d+\.\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def _labelled(table: TaskTable, rows: Rows) -> Iterator[Example]:
    columns = dict(zip(("text", "text_pair"), table.text_columns, strict=False))
    read = _label_reader(table)
    for where, row in rows:
        texts = {name: row[column] for name, column in columns.items()}
        label = read(where, [row[column] for column in table.label_columns], table)
        yield {**texts, "label": label, **_location(where, row, table)}


def _label_reader(table: TaskTable) -> Callable[[str, list[Any], TaskTable], Any]:
    """Return what reads a row's label from its place, the values in the label columns, and the table."""
    if table.kind is TaskKind.SEQUENCE_REGRESSION:
        return _number
    if table.kind is not TaskKind.MULTI_LABEL_CLASSIFICATION:
        return _class_name
    return _marked_labels if isinstance(table.label, tuple) else _listed_labels


def _tagged(table: TaskTable, rows: Callable[[], Rows]) -> Iterator[Example]:
    """Yield an example for each row; each call of `rows` reads them from the start."""
    scheme = detect_scheme(_tags(where, row, table) for where, row in rows())
    for where, row in rows():
        words, tags = row[table.text_columns[0]], _tags(where, row, table)
        try:
            yield {"words": words, "tags": to_iob2(tags, scheme), **_location(where, row, table)}
        except TagError as error:
            raise UsageError(f"{where}: word {error.index + 1}: {error}") from error


def _tags(where: str, row: dict[str, Any], table: TaskTable) -> list[str]:
    tags = row[table.label_columns[0]]
    if not isinstance(tags, list) or not all(isinstance(tag, str) and tag for tag in tags):
        raise UsageError(
            f"{where}: {table.label_columns[0]!r} is not a list of tags; write a list of strings, one per word"
        )
    return tags


def _location(where: str, row: dict[str, Any], table: TaskTable) -> Example:
    return {"group": str(row[table.group]), "where": where} if table.group else {"where": where}


def _number(where: str, values: list[Any], table: TaskTable) -> float:
    (value,) = values
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        comma = _DECIMAL_COMMA.fullmatch(value.strip()) if isinstance(value, str) else None
        remedy = "write the decimal comma as a point" if comma else "correct or remove the row"
        raise UsageError(
            f"{where}: the label {shown(value)} in column {table.label_columns[0]!r} is not a number; {remedy}"
        ) from None


def _marked_labels(where: str, values: list[Any], table: TaskTable) -> list[str]:
    """Return the names of the label columns with a 1 among `values`: the others have a 0."""
    given = []
    for name, value in zip(table.label_columns, values, strict=True):
        mark = _MARKS.get(str(value).strip().lower())
        if mark is None:
            raise UsageError(
                f"{where}: {shown(value)} in the label column {name!r} is neither 1 nor 0; correct or remove the row"
            )
        if mark:
            given.append(name)
    return given


_MARKS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}
"""What a column of a label may contain; pandas writes 1.0 in columns from which values were once missing."""


def _listed_labels(where: str, values: list[Any], table: TaskTable) -> list[str]:
    """Return the labels of a row: a list, or names joined by the table's separator; an empty text has none."""
    (value,) = values
    if isinstance(value, str):
        return [name for part in value.split(table.separator) if (name := part.strip())]
    if isinstance(value, list):
        return [_class_name(where, [name], table) for name in value]
    raise UsageError(
        f"{where}: the label {shown(value)} in column {table.label_columns[0]!r} is neither a list of labels nor their "
        f"names separated by {table.separator!r}; correct the row, an empty list or text if it has no label"
    )


def _class_name(where: str, values: list[Any], table: TaskTable) -> str:
    """Return the class name, which the file may give as a string, a whole number or a truth value."""
    (value,) = values
    name = str(value).lower() if isinstance(value, bool) else str(value).strip()
    if value is None or not name or value != value:  # NaN, as pandas writes what is missing
        raise UsageError(
            f"{where}: the label in column {table.label_columns[0]!r} is empty; fill it or remove the row"
        )
    if not isinstance(value, str | int | float):
        raise UsageError(
            f"{where}: the label {shown(value)} is not a class; write a string or a whole number"
        )
    if name not in table.labels and (isinstance(value, float) or _FRACTION.fullmatch(name)):
        raise UsageError(
            f"{where}: the label {name} is a decimal number where a class is expected; set --kind sequence-regression, or "
            "name each class by --class (kind and labels in a config file)"
        )
    return name


HELD_OUT = "held-out"
"""The name of the evaluation split if the user gives none."""
_HELD_OUT_SHARE = 5
_MAX_CLASSES = 1_000
"""More than these have to occur twice on average, or they may be anything: texts, numbers of rows."""
_MAX_LISTED = 50_000
_NAMES = "names.json"
_NAMES_LAYOUT = 2
"""Incremented when names are found in another way."""


class UserTask(Task):
    """A task described by a ``[tasks.NAME]`` table; its classes are those in train unless the table lists them."""

    def __init__(self, name: str, table: TaskTable, folder: Path, cache_dir: Path) -> None:
        """Set the attributes and sources; `table`'s paths are relative to `folder`, found classes are cached."""
        self.name = name
        self.title = table.title or name
        self.kind = table.kind
        self.metric = table.headline
        self.metrics = table.metrics
        self.eval_split = "test" if table.test else HELD_OUT
        self._table = table
        self._cache_dir = cache_dir
        splits = {"train": table.train or "train", "validation": table.validation, "test": table.test}
        self._splits = {split: location for split, location in splits.items() if location}
        self.sources: Mapping[str, Source]
        if table.dataset:
            hub = HubSource(table.dataset, table.config or None, table.revision or None, self._splits)
            self.sources = {"hub": hub}
        else:
            files = {split: str((folder / path).resolve()) for split, path in self._splits.items()}
            self.sources = {"local": LocalSource(files)}

    @cached_property
    def labels(self) -> tuple[str, ...]:  # type: ignore[override]  # read from train on first use
        """The classes, in alphabetical order unless the table lists them; for tokens the IOB2 tags.

        Raises:
            UsageError: train cannot be read, or its labels are not classes.
        """
        if self.kind is TaskKind.SEQUENCE_REGRESSION:
            return ()
        if isinstance(self._table.label, tuple):
            return self._table.label
        names = self._table.labels or self._names_in_train()
        return iob2_labels(*names) if self.kind.per_word else names

    def load(self, opened: Opened) -> Splits:
        """Return the user's splits; without a test split, a fifth of train is held out, stratified or by group."""
        splits = {split: self._examples(split) for split in self._splits}
        if self.eval_split == HELD_OUT:
            held = self._held_out()
            splits["train"] = compress(self._examples("train"), (~held).tolist())
            splits[HELD_OUT] = compress(self._examples("train"), held.tolist())
        return splits

    def _held_out(self) -> Mask:
        """Return a mask of the examples of train that are held out for scoring."""
        examples = ExampleCheck(self, "train").check(self._examples("train"))
        order = stratified_order(self.kind.strata(example[self.kind.label_column] for example in examples))
        groups = None
        if self._table.group:
            groups = factorize(example["group"] for example in self._examples("train"))
        size = len(order) // _HELD_OUT_SHARE
        held = hold_out(order, groups, size, size)
        if not held.any():
            raise UsageError(
                f"task {self.name!r}: a fifth of its {len(order)} examples (in whole groups) cannot be held out for "
                "scoring; add examples, or name a file by --test-file (test in a config file)"
            )
        return held

    def _names_in_train(self) -> tuple[str, ...]:
        """Return the classes or entity types of train; found once, then cached."""
        parts = [_NAMES_LAYOUT, self._table.model_dump_json()]
        local = self.sources.get("local")
        if isinstance(local, LocalSource):
            path = _only_file(local, "train")
            with readable(path):
                parts.append(sha256(path))
        folder = build_once(
            self._cache_dir / "labels" / f"{self.name}-{content_hash(parts)}",
            lambda partial: (partial / _NAMES).write_text(json.dumps(self._find_names()), encoding="utf-8"),
        )
        return tuple(json.loads((folder / _NAMES).read_text(encoding="utf-8")))

    def _find_names(self) -> list[str]:
        names: set[str] = set()
        count = 0
        for example in self._examples("train"):
            count += 1
            if self.kind.per_word:
                names.update(tag[2:] for tag in example["tags"] if tag != "O")
            else:
                names.update(self.kind.names(example["label"]))
            if len(names) > _MAX_LISTED:
                break
        if len(names) > _MAX_LISTED or (len(names) > _MAX_CLASSES and 2 * len(names) > count):
            raise UsageError(
                f"task {self.name!r}: column {self._table.label_columns[0]!r} of train has {len(names):,} different values in "
                f"{count:,} rows, so they are hardly classes; name another column by --label, or each class by --class "
                "(label and labels in a config file)"
            )
        if self.kind is TaskKind.SEQUENCE_CLASSIFICATION and len(names) == 1:
            raise UsageError(
                f"task {self.name!r}: column {self._table.label_columns[0]!r} of train has one class only, "
                f"{names.pop()!r}; a classifier needs two or more"
            )
        if not names:
            raise UsageError(f"task {self.name!r}: train {self.kind.train_problem(())}")
        return sorted(names)

    def _examples(self, split: str) -> Iterator[Example]:
        """Yield an example, in the columns defined by `Task`, for each row of `split`."""
        if self.kind.per_word:
            return _tagged(self._table, lambda: self._rows(split))
        return _labelled(self._table, self._rows(split))

    def _rows(self, split: str) -> Rows:
        (source,) = self.sources.values()
        if isinstance(source, HubSource):
            return read_hub(Opened("hub", hub=source), split, columns_of(self._table))
        assert isinstance(source, LocalSource)
        return file_rows(_only_file(source, split), self._table)


def _only_file(source: LocalSource, split: str) -> Path:
    (name,) = source.candidates()[split]
    return Path(name)
