"""A table's rows, one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pandas as pd

Row = Mapping[str, Any]
"""One row of a table by column name; what is missing is None."""


def rows_of(table: pd.DataFrame) -> list[Row]:
    """Return the rows of `table` in their order."""
    return cast(list[Row], table.astype(object).where(table.notna(), None).to_dict("records"))
