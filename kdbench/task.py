"""The Task contract: a labelled data set with one headline metric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from kdbench.kinds import TaskKind

if TYPE_CHECKING:
    from datasets import DatasetDict

    from kdbench.sources import Opened, Source


class Task(ABC):
    """A labelled data set with one headline metric.

    The splits that `load` returns are ``train``, the one that `scored_split` names, and, where the data brings
    one, ``validation``; without it the harness splits one off ``train``. Their columns depend on `kind`:

    - sequence classification: ``text`` (str), optionally ``text_pair`` (str), ``label`` (str, one of `labels`);
    - sequence regression: ``text``, optionally ``text_pair``, ``label`` (float);
    - token classification: ``words`` (list of str), ``tags`` (list of str, one a word, IOB2 over `labels`).

    A column ``group`` (str) keeps rows of one group on one side of the validation split.
    """

    name: ClassVar[str] | str
    """What the user types: lower case, digits and dashes."""
    title: ClassVar[str] | str
    """One line for tables."""
    kind: ClassVar[TaskKind] | TaskKind
    labels: ClassVar[tuple[str, ...]] | tuple[str, ...] = ()
    """Class names in the order of the model's outputs (for tokens: the IOB2 tags, ``O`` first); empty for regression."""
    metric: ClassVar[str] | str
    """The headline metric's name in `kdbench.metrics`."""
    metrics: ClassVar[tuple[str, ...]] | tuple[str, ...] = ()
    """Further metrics of `kdbench.metrics` that the record carries."""
    scored_split: ClassVar[str] | str = "test"
    """The split that the board scores; ``dev`` where test labels are not public."""
    licence: ClassVar[str] | str = ""
    citation: ClassVar[str] | str = ""
    sources: ClassVar[Mapping[str, Source]] | Mapping[str, Source]
    """Where the data may come from: any of ``package``, ``local`` and ``hub``."""

    @abstractmethod
    def load(self, opened: Opened) -> DatasetDict:
        """Return the splits read from one opened source of `sources`.

        Raises:
            UsageError: a file is not what the task's layout says; names the file, the line and the remedy.
        """
