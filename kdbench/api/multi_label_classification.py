"""Define multi-label classification: any number of the task's labels per text or pair of texts."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kdbench.api.kind import UNLABELLED, LabelWeighting, TaskKind, is_text, quote_names
from kdbench.errors import shown

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor


@dataclass(frozen=True)
class LabelsPrediction:
    """The predicted labels of a text, with the probability of every label."""

    labels: tuple[str, ...]
    """In the task's order; may be empty."""
    scores: dict[str, float]
    """The probability of each label: the sigmoid of its logit."""


class MultiLabelClassification(TaskKind):
    """Assign to each text any number of the task's labels; ``label`` is the list of their names.

    Each label is a yes or no of its own: the loss is binary cross-entropy, and a label is given where its logit exceeds
    the label's threshold, which is chosen on the validation examples.
    """

    name = "multi-label-classification"
    metric = "micro-f1"
    problem_type = "multi_label_classification"
    decides_by_thresholds = True

    def label_faults(self, labels: tuple[str, ...]) -> Iterator[str]:
        if not labels:
            yield "labels must name one label or more"

    def label_problem(self, label: object, labels: Collection[str]) -> str | None:
        if not isinstance(label, list) or not all(is_text(name) for name in label):
            return f"the label is {shown(label)}, not a list of names; correct or remove the row"
        if len(set(label)) < len(label):
            return f"the label {shown(label)} has a name twice; remove one of the two"
        unknown = [name for name in label if name not in labels]
        if unknown:
            return (
                f"the label {shown(unknown[0])} is none of the task's ({quote_names(labels)}); correct it or "
                "remove the row"
            )
        return None

    def names(self, label: Any) -> Iterable[str]:
        return label  # type: ignore[no-any-return]  # a list of names

    def train_problem(self, seen: Collection[str]) -> str | None:
        """Return a message if no text of train has a label."""
        return None if seen else "has no text with a label; check the column of the labels"

    def placeholder(self, labels: Sequence[str]) -> list[str]:
        return []

    def stratum(self, label: Any) -> Hashable:
        """Return the text's set of labels."""
        return tuple(sorted(label))

    def stored_type(self) -> pa.DataType:
        import pyarrow as pa

        return pa.list_(pa.string())

    def encoded_type(self) -> pa.DataType:
        import pyarrow as pa

        return pa.list_(pa.int64())

    def encode_label(self, label: Any, ids: Mapping[str, int]) -> list[int]:
        """Return 1 for each label of the text and 0 for each other, in the order of `ids`."""
        given = set(label)
        return [int(name in given) for name in ids]

    def hide_label(self, encoded: Any) -> list[int]:
        return [UNLABELLED] * len(encoded)

    def collate_labels(self, labels: Sequence[Any], length: int) -> Tensor:
        """Return 0, 1 or `UNLABELLED` for each label, ``(batch, labels)``."""
        import torch

        return torch.tensor(labels)

    def weighing(self, weighting: LabelWeighting) -> TaskKind:
        weighted = type(self)()
        weighted.weighting = weighting
        return weighted

    def balanced_weights(self, counts: Mapping[str, int], examples: int) -> tuple[float, ...]:
        """Return for each label how many texts lack it per text that has it, by which those that have it count."""
        return tuple(max(1, examples - count) / max(1, count) for count in counts.values())

    def label_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the binary cross-entropy, averaged over texts and labels; see `kdbench.api.losses.several_labels_loss`."""
        from kdbench.api.losses import several_labels_loss

        weighting = self.weighting or LabelWeighting(None, 0.0)
        return several_labels_loss(logits, labels, weights=weighting.weights, gamma=weighting.gamma)

    def soft_target_loss(
        self, student: Tensor, teacher: Tensor, labels: Tensor, *, temperature: float
    ) -> Tensor:
        """Return temperature² times the binary KL divergence from teacher to student, averaged over texts and labels.

        Each label is a distribution over yes and no (Yang et al. 2023, arXiv:2308.06453, section 3.2, there without a
        temperature). It is zero where the student equals the teacher.
        """
        from torch.nn import functional

        student_logits, teacher_logits = student.float() / temperature, teacher.float() / temperature
        log_student, log_teacher = (
            [functional.logsigmoid(logits), functional.logsigmoid(-logits)]
            for logits in (student_logits, teacher_logits)
        )
        divergences = [
            functional.kl_div(own, target, reduction="none", log_target=True)
            for own, target in zip(log_student, log_teacher, strict=True)
        ]
        return (divergences[0] + divergences[1]).mean() * temperature**2

    def decode(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Return (texts, labels): 1 where the logit is above 0, the threshold of labels for which none was chosen."""
        return (logits > 0).astype(np.int64)

    def answer(
        self,
        logits: npt.NDArray[np.float32],
        labels: Sequence[str],
        thresholds: npt.NDArray[np.float32] | None = None,
    ) -> LabelsPrediction:
        """Return the labels whose logit exceeds the label's threshold, and the probability of every label."""
        from scipy.special import expit

        given = logits > (0.0 if thresholds is None else thresholds)
        scores = dict(zip(labels, expit(logits.astype(np.float64)).tolist(), strict=True))
        return LabelsPrediction(
            tuple(name for name, is_given in zip(labels, given, strict=True) if is_given), scores
        )

    def constant_logits(self, counts: Mapping[str, int], labels: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return 1 for the most frequent label and -1 for the others, so that it alone is given."""
        most_frequent = max(counts, key=lambda name: counts[name])
        return np.array([1 if name == most_frequent else -1 for name in labels], dtype=np.float32)
