"""Define the TaskKind contract: one object holds everything that differs between kinds of task."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeGuard

import numpy as np
import numpy.typing as npt

from kdbench.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

IGNORED = -100
"""The label of padding and of every word piece except a word's first; losses and metrics skip it."""

UNLABELLED = -101
"""The class of a text or word without a label, for which only the teacher's answer counts; NaN in regression."""


@dataclass(frozen=True)
class LabelWeighting:
    """How much each label counts in the loss against labels."""

    weights: tuple[float, ...] | None
    """One per label; None where all count alike."""
    gamma: float
    """Each term is multiplied by (1 - p) to the power of gamma, p being the probability of the right answer (focal loss,
    Lin et al. 2017, arXiv:1708.02002, section 3.2)."""


class _Kinds(ABCMeta):
    """Makes ``for kind in TaskKind`` yield kdbench's own kinds, for which budgets and learning rates are specified."""

    def __iter__(cls) -> Iterator[TaskKind]:
        return iter(
            (
                TaskKind.SEQUENCE_CLASSIFICATION,
                TaskKind.SEQUENCE_REGRESSION,
                TaskKind.TOKEN_CLASSIFICATION,
                TaskKind.MULTI_LABEL_CLASSIFICATION,
            )
        )

    def __len__(cls) -> int:
        return len(list(iter(cls)))


class TaskKind(str, metaclass=_Kinds):
    """A kind of task: the format of its labels, the model's head, the losses, and the decoding of logits.

    A kind is a string equal to its `name`; records, settings and budgets store the name only. A plugin subclasses
    this class and returns an instance from ``kdbench_kinds``. Methods that need torch, pyarrow or transformers import
    them locally, so that listing tasks loads none of them.

    Budgets and strategies specify steps, batch sizes and learning rates for kdbench's own kinds. Any other kind gets
    the steps and the batch size of sequence classification, and its own `learning_rate` scaled by
    `kdbench.api.params.default_rate`.
    """

    SEQUENCE_CLASSIFICATION: ClassVar[TaskKind]
    SEQUENCE_REGRESSION: ClassVar[TaskKind]
    TOKEN_CLASSIFICATION: ClassVar[TaskKind]
    MULTI_LABEL_CLASSIFICATION: ClassVar[TaskKind]

    name: ClassVar[str]
    """Lower case, digits and dashes."""
    metric: ClassVar[str]
    """The headline metric of tasks that do not name one."""
    learning_rate: ClassVar[float] = 1e-4
    """The default peak learning rate for fine-tuning all weights of a small encoder."""
    per_word: ClassVar[bool] = False
    """Whether every word gets a label: examples then have ``words`` and ``tags`` instead of ``text`` and ``label``."""
    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    """The transformers class that adds the task's head to an encoder."""
    problem_type: ClassVar[str | None] = None
    """The `problem_type` of the model's configuration, where transformers would otherwise infer a wrong one."""
    decides_by_thresholds: ClassVar[bool] = False
    """Whether every output is a yes or no of its own, decided by a threshold that is chosen on validation examples."""
    pipeline: ClassVar[str] = "text-classification"
    """The hub's pipeline tag, for model cards."""

    def __new__(cls) -> TaskKind:
        """Return the kind as a string equal to its name."""
        return super().__new__(cls, cls.name)

    def __reduce__(self) -> tuple[type[TaskKind], tuple[()]]:
        """Pickle only the class: a weighting belongs to the process that trains."""
        return type(self), ()

    @property
    def label_column(self) -> str:
        """The name of the column that holds an example's label."""
        return "tags" if self.per_word else "label"

    # Labels: of a task, and of an example.

    def label_faults(self, labels: tuple[str, ...]) -> Iterator[str]:
        """Yield what is wrong with a task's `labels`, which are distinct names."""
        yield from ()

    @abstractmethod
    def label_problem(self, label: object, labels: Collection[str]) -> str | None:
        """Return what is wrong with an example's label (or a word's tag), in one line with the remedy, or None.

        Args:
            label: the label as `Task.load` returned it.
            labels: the task's labels, in order; membership tests are fast.
        """

    def sentence_problem(self, tags: Sequence[str]) -> str | None:
        """Return what is wrong with a sentence's tags, each of them valid on its own, or None."""
        return None

    @abstractmethod
    def names(self, label: Any) -> Iterable[str]:
        """Return which of the task's labels an example's label contains, for counting; none for numeric labels."""

    def seen(self, label: Any) -> Iterable[str]:
        """Return the parts of an example's label that must occur in train if they occur in another split."""
        return self.names(label)

    def train_problem(self, seen: Collection[str]) -> str | None:
        """Return what is wrong if `seen` is all that occurs in train, without naming the split, or None."""
        return None

    def placeholder(self, labels: Sequence[str]) -> Any:
        """Return a valid dummy label (for a word, a tag) for examples whose label is unknown and never read."""
        return labels[0]

    def stratum(self, label: Any) -> Hashable:
        """Return the stratum of an example's label, for stratified splits."""
        return label  # type: ignore[no-any-return]  # whatever the kind's labels are

    def strata(self, labels: Iterable[Any]) -> npt.NDArray[np.int64]:
        """Return the index of each example's stratum."""
        return factorize(self.stratum(label) for label in labels)

    # Encoding of labels, on disk and in batches.

    @abstractmethod
    def stored_type(self) -> pa.DataType:
        """Return the Arrow type of labels as `Task.load` returns them."""

    @abstractmethod
    def encoded_type(self) -> pa.DataType:
        """Return the Arrow type of a row's encoded label; for kinds `per_word`, of the list of a row's labels."""

    @abstractmethod
    def encode_label(self, label: Any, ids: Mapping[str, int]) -> Any:
        """Encode an example's valid label (or a word's tag) by `ids` of names as a number or a list of numbers."""

    @abstractmethod
    def hide_label(self, encoded: Any) -> Any:
        """Return the value that replaces a row's `encoded` label where labels are hidden."""

    @abstractmethod
    def collate_labels(self, labels: Sequence[Any], length: int) -> Tensor:
        """Collate encoded `labels` into a tensor, ``(batch, ...)``; `length` is the longest row in word pieces."""

    # Model and losses.

    def outputs(self, labels: Sequence[str]) -> int:
        """Return the number of logits per text or word."""
        return max(1, len(labels))

    def output_names(self, labels: Sequence[str]) -> tuple[str, ...]:
        """Return the name of each output in a model's configuration: that of a label, or transformers' own without labels."""
        outputs = self.outputs(labels)
        return tuple(labels[:outputs]) if labels else tuple(f"LABEL_{i}" for i in range(outputs))

    @abstractmethod
    def label_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss against the labels: the mean over labelled units, zero if there are none."""

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

    weighting: LabelWeighting | None = None
    """How `label_loss` weighs labels; None where all count alike."""

    def weighing(self, weighting: LabelWeighting) -> TaskKind:
        """Return this kind with a `label_loss` by `weighting`.

        Raises:
            UsageError: the kind's label loss cannot be weighted.
        """
        raise UsageError(f"class_weights and focal_gamma have no effect on a {self} task; leave them out")

    def balanced_weights(self, counts: Mapping[str, int], examples: int) -> tuple[float, ...]:
        """Return the weights by which all labels count alike, for kinds that can weigh.

        `counts` is how often each of the task's labels, in their order, occurs in the `examples` of train.
        """
        total = sum(counts.values())
        return tuple(total / (len(counts) * max(1, count)) for count in counts.values())

    # Predictions.

    @abstractmethod
    def decode(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Return the predictions (units, ...) for logits (units, outputs), in the form of encoded labels."""

    @abstractmethod
    def answer(
        self,
        logits: npt.NDArray[np.float32],
        labels: Sequence[str],
        thresholds: npt.NDArray[np.float32] | None = None,
    ) -> Any:
        """Return the prediction for a text's logits (outputs,) as a dataclass, for users of `kdbench.load`.

        `thresholds` (outputs,) are passed only where some were chosen for the model, see `decides_by_thresholds`.
        """

    def constant_logits(
        self, counts: Mapping[str, int], labels: Sequence[str]
    ) -> npt.NDArray[np.float32] | None:
        """Return the logits (outputs,) of a majority-class baseline; None if the kind has no such baseline.

        `counts` is how often each of `labels` occurs in train.
        """
        return None


class LossesByType(TaskKind):
    """Base of kdbench's own kinds, whose losses depend on whether labels are class indices or numbers."""

    def label_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return cross-entropy or mean squared error, see `kdbench.api.losses.task_loss`."""
        from kdbench.api.losses import task_loss

        return task_loss(logits, labels)

    def soft_target_loss(
        self, student: Tensor, teacher: Tensor, labels: Tensor, *, temperature: float
    ) -> Tensor:
        """Return KL divergence or mean squared difference, see `kdbench.api.losses.soft_target_loss`."""
        from kdbench.api.losses import soft_target_loss

        return soft_target_loss(student, teacher, labels, temperature=temperature)


class EveryKind(frozenset[TaskKind]):
    """A set that contains every kind of task, including those of plugins; iteration yields kdbench's own."""

    def __contains__(self, kind: object) -> bool:
        return isinstance(kind, TaskKind)


def factorize(values: Iterable[Hashable]) -> npt.NDArray[np.int64]:
    """Return an integer code for each value; equal values have equal codes."""
    codes: dict[Hashable, int] = {}
    return np.fromiter((codes.setdefault(value, len(codes)) for value in values), dtype=np.int64)


def is_text(value: object) -> TypeGuard[str]:
    """Return whether `value` is a string that can be encoded; JSON may contain lone surrogates, which cannot."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def quote_names(names: Collection[str]) -> str:
    """Return `names` in quotes for a message, at most the first twenty."""
    quoted = [repr(name) for name in names]
    return ", ".join(quoted[:20]) + (f" … ({len(quoted)} in all)" if len(quoted) > 20 else "")
