"""Rows of Parquet files."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from kdbench.data.lines import readable
from kdbench.data.tables import BATCH
from kdbench.errors import UsageError


def read_parquet(path: Path, columns: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place (``train.parquet, row 2``) and the values of `columns` of each row.

    Raises:
        UsageError: the file cannot be read, lacks a column or has no rows; names the remedy.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with readable(path), path.open("rb") as file:
            table = pq.ParquetFile(file)
            there = table.schema_arrow.names
            for name in columns:
                if name not in there:
                    raise UsageError(f"{path} has no column {name!r}, only {', '.join(map(repr, there))}")
            number = 0
            for batch in table.iter_batches(BATCH, columns=list(columns)):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except pa.ArrowException as error:
        told = str(error).splitlines()[0].rstrip(".")
        raise UsageError(f"{path} is no Parquet file, or a damaged one: {told}; write it again") from error
    if number == 0:
        raise UsageError(f"{path} has no rows; add some")
