"""Convert the rows of a table to mappings in which missing values are None."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

Row = Mapping[str, Any]
"""One row of a table by column name; a missing value is None."""


def rows_of(table: pd.DataFrame) -> list[Row]:
    """Return the rows of `table` in their order."""
    names = list(table.columns)
    values = table.to_numpy(dtype=object, copy=True)  # pandas' own row iterators are many times slower
    values[pd.isna(values)] = None
    return [dict(zip(names, row, strict=True)) for row in values.tolist()]


def first_row(table: pd.DataFrame) -> Row:
    """Return the first row of `table`, which must not be empty."""
    return rows_of(table.head(1))[0]
