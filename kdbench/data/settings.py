"""Where data is looked for and kept."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs


def default_cache_dir() -> Path:
    """Return the folder that ``KDBENCH_CACHE`` names, or else the platform's cache folder for kdbench."""
    named = os.environ.get("KDBENCH_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("kdbench")


@dataclass(frozen=True)
class DataSettings:
    """Where data is looked for, and where it is kept."""

    data_dir: Path | None = None
    """The folder of corpora in their official layouts."""
    cache_dir: Path = field(default_factory=default_cache_dir)
    """What was fetched, read and encoded; may be deleted at any time."""
