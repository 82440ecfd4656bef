"""Divide many inputs into batches: hypothesis remembers all that it has tried in one."""

from __future__ import annotations

import pytest
from fuzz.judge import BATCHES


@pytest.fixture(autouse=True, scope="module", params=range(BATCHES), ids=lambda number: f"batch-{number + 1}")
def _batch(request: pytest.FixtureRequest) -> None:
    """Repeat every test, each time with other inputs."""
