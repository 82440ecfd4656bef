"""Arrow files on disk: written a batch at a time, read memory-mapped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

BATCH = 5_000
"""Rows held in memory at once."""

_T = TypeVar("_T")


def batches(rows: Iterable[_T], size: int = BATCH) -> Iterator[list[_T]]:
    """Yield `rows` in lists of at most `size`."""
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch


def write_table(path: Path, schema: pa.Schema, tables: Iterable[pa.RecordBatch]) -> None:
    """Write `tables` to `path` as one Arrow stream of `schema`."""
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for table in tables:
            writer.write_batch(table)


def read_table(path: Path) -> Dataset:
    """Return the rows of the Arrow file at `path`, memory-mapped."""
    from datasets import Dataset

    return Dataset.from_file(str(path))
