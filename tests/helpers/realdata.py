"""The folder of real corpora that tests marked `realdata` read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

_REPOSITORY = Path(__file__).resolve().parents[2]
REAL_DATA = Path(os.environ.get("KDBENCH_DATA_DIR") or _REPOSITORY.parent / "shared" / "data")

_Test = TypeVar("_Test", bound=Callable[..., Any])


def needs_real_data(test: _Test) -> _Test:
    """Mark `test` as reading real corpora; it is skipped where there are none."""
    skip = pytest.mark.skipif(
        not REAL_DATA.is_dir(), reason="no real data: set KDBENCH_DATA_DIR to its folder"
    )
    marked: _Test = pytest.mark.realdata(skip(test))
    return marked
