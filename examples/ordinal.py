"""Define a task kind in one file: one of several classes that have an order, such as stars.

    kdbench run --plugin examples/ordinal.py --task stars --strategy finetune --strategy vanilla-kd

The file defines the kind ``ordinal``, its metric ``closeness``, and a small synthetic task.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench import UNLABELLED, Answers, LocalSource, Metric, Opened, Splits, Task, TaskKind, hookimpl

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor


@dataclass(frozen=True)
class StepPrediction:
    """A prediction for a text: a class, and the probability that the true class is above each but the last."""

    label: str
    above: dict[str, float]


class Ordinal(TaskKind):
    """Assign to each text one of the task's labels, which are ordered from the lowest to the highest.

    Of K labels the model has K - 1 outputs: output k is the logit of the label being above the k-th (Frank and Hall
    2001, A Simple Approach to Ordinal Classification).
    """

    name = "ordinal"
    metric = "closeness"
    learning_rate = 2e-4
    problem_type = "multi_label_classification"  # how transformers calls independent outputs

    def label_faults(self, labels: tuple[str, ...]) -> Iterator[str]:
        """Yield a fault if a task has fewer than two labels."""
        if len(labels) < 2:
            yield "labels must name two classes or more, from the lowest to the highest"

    def label_problem(self, label: object, labels: Collection[str]) -> str | None:
        """Return why `label` is none of the task's labels, or None if it is one."""
        return None if label in labels else f"the label is {label!r}, none of the task's; correct it"

    def names(self, label: Any) -> Iterable[str]:
        """Return the label of a text."""
        return (label,)

    def stored_type(self) -> pa.DataType:
        """Return the Arrow type of a name."""
        import pyarrow as pa

        return pa.string()

    def encoded_type(self) -> pa.DataType:
        """Return the Arrow type of a class's number."""
        import pyarrow as pa

        return pa.int64()

    def encode_label(self, label: Any, ids: Mapping[str, int]) -> int:
        """Return the class's number, counted from the lowest."""
        return ids[label]

    def hide_label(self, encoded: Any) -> int:
        """Return `UNLABELLED`."""
        return UNLABELLED

    def collate_labels(self, labels: Sequence[Any], length: int) -> Tensor:
        """Return ``(batch,)``."""
        import torch

        return torch.tensor(labels)

    def outputs(self, labels: Sequence[str]) -> int:
        """Return one output per step between two labels."""
        return len(labels) - 1

    def label_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the binary cross-entropy, averaged over texts and steps."""
        import torch
        from torch.nn import functional

        known = labels != UNLABELLED
        above = labels[known][:, None] > torch.arange(logits.shape[1], device=labels.device)
        total = functional.binary_cross_entropy_with_logits(
            logits[known].float(), above.float(), reduction="sum"
        )
        return total / max(1, above.numel())

    def soft_target_loss(
        self, student: Tensor, teacher: Tensor, labels: Tensor, *, temperature: float
    ) -> Tensor:
        """Return temperature² times the binary KL(teacher, student), averaged over texts and steps."""
        from torch.nn import functional

        targets = (teacher.float() / temperature).sigmoid()
        cross_entropy = functional.binary_cross_entropy_with_logits(student.float() / temperature, targets)
        entropy = functional.binary_cross_entropy(targets, targets)
        return (cross_entropy - entropy) * temperature**2

    def decode(self, logits: np.ndarray) -> np.ndarray:
        """Return ``(texts,)``: the number of steps with a positive logit."""
        return (logits > 0).sum(axis=1).astype(np.int64)

    def answer(
        self, logits: np.ndarray, labels: Sequence[str], thresholds: np.ndarray | None = None
    ) -> StepPrediction:
        """Return the label, and the probability of each step."""
        scores = (1 / (1 + np.exp(-logits.astype(np.float64)))).tolist()
        return StepPrediction(
            labels[int(self.decode(logits[None])[0])], dict(zip(labels, scores, strict=False))
        )

    def constant_logits(self, counts: Mapping[str, int], labels: Sequence[str]) -> np.ndarray:
        """Return the logits of a constant prediction: the most frequent label."""
        most_frequent = list(labels).index(max(counts, key=lambda name: counts[name]))
        return np.where(np.arange(len(labels) - 1) < most_frequent, 1, -1).astype(np.float32)


class Closeness(Metric):
    """Compute 1 minus the mean distance between predicted and actual class, as a share of the largest one."""

    name = "closeness"
    title = "Closeness to the actual class"
    kinds = frozenset({Ordinal()})

    def unit_statistics(self, answers: Answers) -> np.ndarray:
        """Return ``(texts, 2)``: each text's closeness, and 1."""
        distance = np.abs(answers.predicted - answers.references) / (len(answers.labels) - 1)
        return np.column_stack([1 - distance, np.ones(len(distance))])


class Stars(Task):
    """Rate synthetic texts by the words that they contain."""

    name = "stars"
    title = "How good a text says it is"
    kind = Ordinal()
    labels = ("one", "two", "three", "four")
    metric = "closeness"
    licence = "none: made up"
    sources = {"local": LocalSource({"rows": __file__})}

    def load(self, opened: Opened) -> Splits:
        """Return texts sampled with a fixed seed."""
        return {"train": self._rows("train", 240), "test": self._rows("test", 80)}

    def _rows(self, split: str, count: int) -> Iterator[dict[str, Any]]:
        draw = random.Random(split)
        for _ in range(count):
            stars = draw.randrange(len(self.labels))
            words = [("awful", "boring", "good", "great")[stars]]
            words += draw.choices(("the", "a", "very", "film", "with", "and", "cats"), k=6)
            yield {"text": " ".join(draw.sample(words, len(words))), "label": self.labels[stars]}


@hookimpl
def kdbench_kinds() -> list[TaskKind]:
    """Return the task kind."""
    return [Ordinal()]


@hookimpl
def kdbench_metrics() -> list[Metric]:
    """Return the metric of the kind."""
    return [Closeness()]


@hookimpl
def kdbench_tasks() -> list[Task]:
    """Return the synthetic task."""
    return [Stars()]
