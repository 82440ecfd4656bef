"""A table's rows, one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

Row = Mapping[str, Any]
"""One row of a table by column name; what is missing is None."""


def rows_of(table: pd.DataFrame) -> list[Row]:
    """Return the rows of `table` in their order."""
    names = list(table.columns)
    values = table.to_numpy(dtype=object, copy=True)  # pandas' own ways to its rows take many times as long
    values[pd.isna(values)] = None
    return [dict(zip(names, row, strict=True)) for row in values.tolist()]


def first_row(table: pd.DataFrame) -> Row:
    """Return the first row of `table`, which has one."""
    return rows_of(table.head(1))[0]
