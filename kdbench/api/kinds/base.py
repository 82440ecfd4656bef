"""Define the TaskKind contract: everything that differs between kinds of task stands in one object."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeGuard

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

IGNORED = -100
"""The label of padding and of every word piece but a word's first; losses and metrics skip it."""

UNLABELLED = -101
"""The class of a text or word whose label is not known: a teacher answers for it. In regression it is NaN."""


class _Kinds(ABCMeta):
    """Lets ``for kind in TaskKind`` give kdbench's own kinds, whose rates and budgets are spelled out."""

    def __iter__(cls) -> Iterator[TaskKind]:
        return iter(
            (TaskKind.SEQUENCE_CLASSIFICATION, TaskKind.SEQUENCE_REGRESSION, TaskKind.TOKEN_CLASSIFICATION)
        )

    def __len__(cls) -> int:
        return len(list(iter(cls)))


class TaskKind(str, metaclass=_Kinds):
    """What a model is asked for: the labels of examples, the head that answers them, and how answers are read.

    A kind is a string, its `name`: records, settings and budgets hold the name alone. A plugin subclasses it and
    returns an instance from ``kdbench_kinds``. Whatever needs torch, pyarrow or transformers imports it inside a
    method, since listing tasks loads none of them.

    Budgets and strategies spell out steps, batch sizes and learning rates for kdbench's own kinds. A kind that they do
    not name gets the steps and the batch size of sequence classification, and its own `learning_rate` scaled as
    `kdbench.api.params.default_rate` says.
    """

    SEQUENCE_CLASSIFICATION: ClassVar[TaskKind]
    SEQUENCE_REGRESSION: ClassVar[TaskKind]
    TOKEN_CLASSIFICATION: ClassVar[TaskKind]

    name: ClassVar[str]
    """Lower case, digits and dashes."""
    metric: ClassVar[str]
    """The headline metric of a task that names none."""
    learning_rate: ClassVar[float] = 1e-4
    """The peak rate at which all weights of a small encoder are trained."""
    per_word: ClassVar[bool] = False
    """Whether words are answered: examples are then ``words`` and ``tags``, not ``text`` and ``label``."""
    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    """The class of transformers that puts a head on an encoder."""
    problem_type: ClassVar[str | None] = None
    """What the model's configuration calls the head's loss, where transformers would else guess wrong."""
    pipeline: ClassVar[str] = "text-classification"
    """The hub's name of what the model does, for model cards."""

    def __new__(cls) -> TaskKind:
        """Return the kind, which equals the string of its name."""
        return super().__new__(cls, cls.name)

    def __reduce__(self) -> tuple[type[TaskKind], tuple[()]]:
        """Pickle the class alone: a kind has no state."""
        return type(self), ()

    @property
    def label_column(self) -> str:
        """The column of an example's label."""
        return "tags" if self.per_word else "label"

    # A task's labels, and one example's.

    def label_faults(self, labels: tuple[str, ...]) -> Iterator[str]:
        """Yield what is wrong with the distinct names `labels` of a task."""
        yield from ()

    @abstractmethod
    def label_problem(self, label: object, labels: Collection[str]) -> str | None:
        """Return what is wrong with an example's label (of a word: its tag), in one line with the remedy, or None.

        Args:
            label: as `Task.load` gave it.
            labels: the task's, in order; asking whether one is among them is fast.
        """

    def sentence_problem(self, tags: Sequence[str]) -> str | None:
        """Return what is wrong with the tags of a sentence, each of which is sound by itself."""
        return None

    @abstractmethod
    def names(self, label: Any) -> Iterable[str]:
        """Return which of the task's labels an example's label holds, for counting; none where labels are numbers."""

    def seen(self, label: Any) -> Iterable[str]:
        """Return what of an example's label must occur in train before another split may have it."""
        return self.names(label)

    def train_problem(self, seen: Collection[str]) -> str | None:
        """Return what is wrong where the examples of train show `seen` in all, without naming the split."""
        return None

    def placeholder(self, labels: Sequence[str]) -> Any:
        """Return a label (of a word: a tag) that fits where none is known and none will be read."""
        return labels[0]

    def stratum(self, label: Any) -> Hashable:
        """Return which stratum of the splits an example's label belongs to."""
        return label  # type: ignore[no-any-return]  # whatever the kind's labels are

    def strata(self, labels: Iterable[Any]) -> npt.NDArray[np.int64]:
        """Return the number of each example's stratum."""
        return numbered(self.stratum(label) for label in labels)

    # Labels on disk and in batches.

    @abstractmethod
    def stored_type(self) -> pa.DataType:
        """Return the Arrow type of the labels as `Task.load` gives them."""

    @abstractmethod
    def encoded_type(self) -> pa.DataType:
        """Return the Arrow type of the labels that `encode_label` gives; of words a list of those."""

    @abstractmethod
    def encode_label(self, label: Any, ids: Mapping[str, int]) -> Any:
        """Return an example's label (of a word: its tag) as a number or a list of numbers.

        Args:
            label: a sound one.
            ids: the number of each of the task's labels.
        """

    @abstractmethod
    def hide_label(self, encoded: Any) -> Any:
        """Return what stands in the place of a row's `encoded` label where it may not be seen."""

    @abstractmethod
    def collate_labels(self, labels: Sequence[Any], length: int) -> Tensor:
        """Return a batch's encoded `labels`, ``(batch, ...)``; `length` is its longest row in word pieces."""

    # Model and losses.

    def outputs(self, labels: Sequence[str]) -> int:
        """Return how many logits a text or a word gets."""
        return max(1, len(labels))

    @abstractmethod
    def label_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss against the labels: the mean over what is labelled, zero where nothing is."""

    @abstractmethod
    def soft_target_loss(
        self, student: Tensor, teacher: Tensor, labels: Tensor, *, temperature: float
    ) -> Tensor:
        """Return the scalar loss against the teacher's logits, both softened by `temperature`."""

    def distillation_loss(
        self, student: Tensor, teacher: Tensor, labels: Tensor, *, temperature: float, alpha: float
    ) -> Tensor:
        """Return alpha times the loss against the teacher's logits plus 1 - alpha times that against the labels.

        Hinton et al. 2015, arXiv:1503.02531, section 2.
        """
        soft = self.soft_target_loss(student, teacher, labels, temperature=temperature)
        return alpha * soft + (1 - alpha) * self.label_loss(student, labels)

    # Answers.

    @abstractmethod
    def decode(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Return the answers (units, ...) of logits (units, outputs), in the form of the encoded labels."""

    @abstractmethod
    def answer(self, logits: npt.NDArray[np.float32], labels: Sequence[str]) -> Any:
        """Return a dataclass that says the answer of a text's logits (outputs,) to a user of `kdbench.load`."""

    def constant_logits(
        self, counts: Mapping[str, int], labels: Sequence[str]
    ) -> npt.NDArray[np.float32] | None:
        """Return the logits (outputs,) of always giving the most frequent answer; None where there is no such answer.

        Args:
            counts: how often each of `labels` occurs in train.
            labels: the task's.
        """
        return None


class EveryKind(frozenset[TaskKind]):
    """Holds every kind of task, those of plugins included; going through it gives kdbench's own."""

    def __contains__(self, kind: object) -> bool:
        return isinstance(kind, TaskKind)


def numbered(values: Iterable[Hashable]) -> npt.NDArray[np.int64]:
    """Return a number for each value, equal values having equal numbers."""
    numbers: dict[Hashable, int] = {}
    return np.fromiter((numbers.setdefault(value, len(numbers)) for value in values), dtype=np.int64)


def is_text(value: object) -> TypeGuard[str]:
    """Return whether `value` is a string that can be written; half of a surrogate pair, as JSON may hold, cannot."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def listed(names: Collection[str]) -> str:
    """Return `names` in quotes, the first twenty of many, for a message."""
    shown = [repr(name) for name in names]
    return ", ".join(shown[:20]) + (f" … ({len(shown)} in all)" if len(shown) > 20 else "")


def displayed(value: object) -> str:
    """Return `value` for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
