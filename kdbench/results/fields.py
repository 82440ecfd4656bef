"""Define the types of fields that files of others must not misuse: keys, names and times."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

CellKey = Annotated[str, Field(pattern=r"^[0-9a-f]{20}$")]
"""The content key of a cell (see `records.key_of_cell`). It becomes the name of files, so nothing else may be read as one."""

MetricName = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=100)]
"""A name that a metric may be registered under."""


def _representable(moment: datetime) -> datetime:
    if not 1970 < moment.year < 2200:
        raise ValueError("is not a time of a run")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_representable)]
"""A time with its zone, within the range of all tables."""
