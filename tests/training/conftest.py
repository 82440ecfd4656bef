"""These tests look at what training leaves: each experiment has a results folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def experiment_results(tmp_path: Path) -> Path:
    """A folder in which no teacher has been trained yet."""
    return tmp_path / "results"
