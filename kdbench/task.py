"""The Task contract: a labelled data set with one headline metric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kdbench.kinds import TaskKind

if TYPE_CHECKING:
    from kdbench.sources import Opened, Source

Example = Mapping[str, Any]
"""One labelled example, by column."""
Splits = Mapping[str, Iterable[Example]]
"""Examples by split: lists, generators (read as a stream), or a `datasets.DatasetDict`."""


class Task(ABC):
    """A labelled data set with one headline metric.

    The splits that `load` returns are ``train``, the one that `scored_split` names, and, where the data brings
    one, ``validation``; without it the harness splits one off ``train``. Their columns depend on `kind`:

    - sequence classification: ``text`` (str), optionally ``text_pair`` (str), ``label`` (str, one of `labels`);
    - sequence regression: ``text``, optionally ``text_pair``, ``label`` (float);
    - token classification: ``words`` (list of str), ``tags`` (list of str, one a word, IOB2 over `labels`).

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
    """The headline metric's name in `kdbench.metrics`."""
    metrics: tuple[str, ...] = ()
    """Further metrics of `kdbench.metrics` that the record carries."""
    scored_split: str = "test"
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
