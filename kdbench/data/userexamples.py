"""Examples out of the rows that a ``[tasks.NAME]`` table points to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from kdbench.api.task import Example, TaskKind
from kdbench.config import TaskTable
from kdbench.data.tagging import TagError, detect_scheme, to_iob2
from kdbench.data.userrows import Rows
from kdbench.errors import UsageError

_FRACTION = re.compile(r"[+-]?(\d+\.\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def examples_of(table: TaskTable, rows: Callable[[], Rows]) -> Iterator[Example]:
    """Yield an example for each row of what `rows` begins to read, in the columns that `Task` lays down.

    Raises:
        UsageError: a label is no class, or a tag stands where its scheme does not allow it; names the place.
    """
    return _tagged(table, rows) if table.kind is TaskKind.TOKEN_CLASSIFICATION else _labelled(table, rows())


def _labelled(table: TaskTable, rows: Rows) -> Iterator[Example]:
    read = _number if table.kind is TaskKind.SEQUENCE_REGRESSION else _class_name
    columns = dict(zip(("text", "text_pair"), table.text_columns, strict=False))
    label = table.label_column
    for where, row in rows:
        texts = {name: row[column] for name, column in columns.items()}
        yield {**texts, "label": read(where, row[label], table), **_place(where, row, table)}


def _tagged(table: TaskTable, rows: Callable[[], Rows]) -> Iterator[Example]:
    scheme = detect_scheme(_tags(where, row, table) for where, row in rows())
    for where, row in rows():
        words, tags = row[table.text_columns[0]], _tags(where, row, table)
        try:
            yield {"words": words, "tags": to_iob2(tags, scheme), **_place(where, row, table)}
        except TagError as error:
            raise UsageError(f"{where}: word {error.index + 1}: {error}") from error


def _tags(where: str, row: dict[str, Any], table: TaskTable) -> list[str]:
    tags = row[table.label_column]
    if not isinstance(tags, list) or not all(isinstance(tag, str) and tag for tag in tags):
        raise UsageError(
            f"{where}: {table.label_column!r} is no list of tags; write a list of strings, one a word"
        )
    return tags


def _place(where: str, row: dict[str, Any], table: TaskTable) -> Example:
    return {"group": str(row[table.group]), "where": where} if table.group else {"where": where}


def _number(where: str, value: object, table: TaskTable) -> float:
    try:
        return float(value)  # type: ignore[arg-type]  # whatever has no number raises
    except (TypeError, ValueError):
        raise UsageError(
            f"{where}: the label {value!r} in column {table.label_column!r} is no number; correct or remove the row"
        ) from None


def _class_name(where: str, value: object, table: TaskTable) -> str:
    """Return the name of the class that `value` is, whether the file wrote it as a string or as a whole number."""
    name = str(value).lower() if isinstance(value, bool) else str(value).strip()
    if value is None or not name:
        raise UsageError(
            f"{where}: the label in column {table.label_column!r} is empty; fill it or remove the row"
        )
    if not isinstance(value, str | int | float):
        raise UsageError(f"{where}: the label {value!r} is no class; write a string or a whole number")
    if name not in table.labels and (isinstance(value, float) or _FRACTION.fullmatch(name)):
        raise UsageError(
            f"{where}: the label {name} is a decimal number where a class is meant; set kind = "
            '"sequence-regression", or list the classes as labels'
        )
    return name
