"""Define a task kind in one file: any number of labels per text.

    kdbench run --plugin examples/multi_label.py --task topics --strategy finetune --strategy vanilla-kd

The file defines the kind ``multi-label``, its metric ``micro-f1``, and a small synthetic task.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench import Answers, LocalSource, Metric, Opened, Splits, Task, TaskKind, hookimpl

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

UNKNOWN = -1
"""The label value of texts without labels, for which only the teacher's outputs count."""


@dataclass(frozen=True)
class LabelsPrediction:
    """A prediction for a text: the labels with a probability above one half."""

    labels: tuple[str, ...]
    scores: dict[str, float]
    """The probability of each label: the sigmoid of its logit."""


class MultiLabel(TaskKind):
    """Assign to each text any number of the task's labels; ``label`` is the list of their names."""

    name = "multi-label"
    metric = "micro-f1"
    learning_rate = 2e-4
    problem_type = "multi_label_classification"

    def label_faults(self, labels: tuple[str, ...]) -> Iterator[str]:
        """Yield a fault if a task has no labels."""
        if not labels:
            yield "labels must name one label or more"

    def label_problem(self, label: object, labels: Collection[str]) -> str | None:
        """Return why `label` is not a list of the task's labels, or None if it is."""
        if not isinstance(label, list) or len(set(map(str, label))) < len(label):
            return f"the label is {label!r}, not a list of distinct names; correct it"
        unknown = [name for name in label if name not in labels]
        return f"the labels {unknown} are not labels of the task; correct or remove them" if unknown else None

    def names(self, label: Any) -> Iterable[str]:
        """Return the labels of a text."""
        return label  # type: ignore[no-any-return]  # a list of names

    def placeholder(self, labels: Sequence[str]) -> list[str]:
        """Return the label of a text without labels: none."""
        return []

    def stratum(self, label: Any) -> Hashable:
        """Return the set of labels, by which splits are stratified."""
        return tuple(sorted(label))

    def stored_type(self) -> pa.DataType:
        """Return the Arrow type of a list of names."""
        import pyarrow as pa

        return pa.list_(pa.string())

    def encoded_type(self) -> pa.DataType:
        """Return the Arrow type of a list of zeros and ones, one per label."""
        import pyarrow as pa

        return pa.list_(pa.int64())

    def encode_label(self, label: Any, ids: Mapping[str, int]) -> list[int]:
        """Return 1 for each label of the text, and 0 for each other label."""
        return [int(name in label) for name in ids]

    def hide_label(self, encoded: Any) -> list[int]:
        """Return `UNKNOWN` for each label."""
        return [UNKNOWN] * len(encoded)

    def collate_labels(self, labels: Sequence[Any], length: int) -> Tensor:
        """Return ``(batch, labels)``."""
        import torch

        return torch.tensor(labels)

    def label_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the binary cross-entropy, averaged over texts and labels."""
        from torch.nn import functional

        known = labels != UNKNOWN
        total = functional.binary_cross_entropy_with_logits(
            logits[known].float(), labels[known].float(), reduction="sum"
        )
        return total / known.sum().clamp(min=1)

    def soft_target_loss(
        self, student: Tensor, teacher: Tensor, labels: Tensor, *, temperature: float
    ) -> Tensor:
        """Return temperature² times the binary KL(teacher, student), averaged over texts and labels."""
        from torch.nn import functional

        targets = (teacher.float() / temperature).sigmoid()
        cross_entropy = functional.binary_cross_entropy_with_logits(student.float() / temperature, targets)
        entropy = functional.binary_cross_entropy(targets, targets)
        return (cross_entropy - entropy) * temperature**2

    def decode(self, logits: np.ndarray) -> np.ndarray:
        """Return ``(texts, labels)``: 1 where the logit is above 0."""
        return (logits > 0).astype(np.int64)

    def answer(self, logits: np.ndarray, labels: Sequence[str]) -> LabelsPrediction:
        """Return the labels with a probability above one half, and all probabilities."""
        scores = dict(zip(labels, (1 / (1 + np.exp(-logits.astype(np.float64)))).tolist(), strict=True))
        return LabelsPrediction(tuple(name for name, score in scores.items() if score > 0.5), scores)

    def constant_logits(self, counts: Mapping[str, int], labels: Sequence[str]) -> np.ndarray:
        """Return the logits of a constant prediction: the most frequent label alone."""
        most_frequent = max(counts, key=lambda name: counts[name])
        return np.array([1 if name == most_frequent else -1 for name in labels], dtype=np.float32)


class MicroF1(Metric):
    """Compute F1 over all labels of all texts together."""

    name = "micro-f1"
    title = "Micro F1 over labels"
    kinds = frozenset({MultiLabel()})

    def unit_statistics(self, answers: Answers) -> np.ndarray:
        """Return ``(texts, 2)``: twice the true positives of each text, and its predicted plus actual labels."""
        predicted, actual = answers.predicted == 1, answers.references == 1
        return np.column_stack([2.0 * (predicted & actual).sum(1), 1.0 * predicted.sum(1) + actual.sum(1)])


class Topics(Task):
    """Label synthetic texts with the topics they mention, of three."""

    name = "topics"
    title = "What a text is about"
    kind = MultiLabel()
    labels = ("story", "music", "actor")
    metric = "micro-f1"
    licence = "none: made up"
    sources = {"local": LocalSource({"rows": __file__})}

    def load(self, opened: Opened) -> Splits:
        """Return texts sampled with a fixed seed."""
        return {"train": self._rows("train", 240), "test": self._rows("test", 80)}

    def _rows(self, split: str, count: int) -> Iterator[dict[str, Any]]:
        draw = random.Random(split)
        for _ in range(count):
            topics = [name for name in self.labels if draw.random() < 0.4]
            words = [*topics, *draw.choices(("the", "a", "very", "good", "film", "with", "and", "cats"), k=6)]
            yield {"text": " ".join(draw.sample(words, len(words))), "label": topics}


@hookimpl
def kdbench_kinds() -> list[TaskKind]:
    """Return the task kind."""
    return [MultiLabel()]


@hookimpl
def kdbench_metrics() -> list[Metric]:
    """Return the metric of the kind."""
    return [MicroF1()]


@hookimpl
def kdbench_tasks() -> list[Task]:
    """Return the synthetic task."""
    return [Topics()]
