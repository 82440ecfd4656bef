"""Define sequence classification: one class per text or pair of texts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kdbench.api.kind import UNLABELLED, LabelWeighting, LossesByType, TaskKind, is_text, quote_names
from kdbench.errors import shown

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor


@dataclass(frozen=True)
class LabelPrediction:
    """The predicted label of a text, with probabilities."""

    label: str
    score: float
    """The probability of `label`: the softmax of the logits."""
    scores: dict[str, float]
    """The probability of every label."""


class ClassKind(LossesByType):
    """Base of kinds with one class per unit: cross-entropy, and argmax decoding."""

    metric = "accuracy"

    def weighing(self, weighting: LabelWeighting) -> TaskKind:
        weighted = type(self)()
        weighted.weighting = weighting
        return weighted

    def label_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return cross-entropy, weighted if there is a weighting, see `kdbench.api.losses.weighted_class_loss`."""
        from kdbench.api.losses import weighted_class_loss

        if self.weighting is None:
            return super().label_loss(logits, labels)
        return weighted_class_loss(logits, labels, weights=self.weighting.weights, gamma=self.weighting.gamma)

    def hide_label(self, encoded: Any) -> Any:
        return UNLABELLED

    def encode_label(self, label: Any, ids: Mapping[str, int]) -> int:
        return ids[label]

    def decode(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Return (units,): the class of the largest logit, the first if several are equal."""
        classes: npt.NDArray[np.int64] = logits.argmax(axis=1).astype(np.int64)
        return classes

    def answer(
        self,
        logits: npt.NDArray[np.float32],
        labels: Sequence[str],
        thresholds: npt.NDArray[np.float32] | None = None,
    ) -> LabelPrediction:
        """Return the most probable label and the probability of every label."""
        from scipy.special import softmax

        row = softmax(logits.astype(np.float64))
        scores = dict(zip(labels, row.tolist(), strict=True))
        label = labels[int(row.argmax())]
        return LabelPrediction(label, scores[label], scores)

    def constant_logits(self, counts: Mapping[str, int], labels: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return 1 for the most frequent label and 0 for the others."""
        logits = np.zeros(len(labels), dtype=np.float32)
        logits[list(labels).index(max(counts, key=lambda label: counts[label]))] = 1
        return logits


class SequenceClassification(ClassKind):
    """Assign one of the task's labels to each text."""

    name = "sequence-classification"

    def label_faults(self, labels: tuple[str, ...]) -> Iterator[str]:
        if len(labels) < 2:
            yield f"labels must name two classes or more, not {shown(labels)}"

    def label_problem(self, label: object, labels: Collection[str]) -> str | None:
        if not is_text(label):
            return f"the label is {shown(label)}, not one of {quote_names(labels)}; correct or remove the row"
        if label not in labels:
            return (
                f"the label {shown(label)} is none of the task's ({quote_names(labels)}); correct it or "
                "remove the row"
            )
        return None

    def names(self, label: Any) -> Iterable[str]:
        return (label,)

    def train_problem(self, seen: Collection[str]) -> str | None:
        if len(seen) != 1:
            return None
        return f"has one label only, {quote_names(sorted(seen))}; a classifier needs two or more"

    def stored_type(self) -> pa.DataType:
        import pyarrow as pa

        return pa.string()

    def encoded_type(self) -> pa.DataType:
        import pyarrow as pa

        return pa.int64()

    def collate_labels(self, labels: Sequence[Any], length: int) -> Tensor:
        """Return the class indices, ``(batch,)``."""
        import torch

        return torch.tensor(labels)
