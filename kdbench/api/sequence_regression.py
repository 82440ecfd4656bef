"""Define sequence regression: one number per text or pair of texts."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kdbench.api.kind import LossesByType
from kdbench.errors import shown

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

_BINS = 10


@dataclass(frozen=True)
class ValuePrediction:
    """The predicted value of a text."""

    value: float


class SequenceRegression(LossesByType):
    """Predict one number for each text."""

    name = "sequence-regression"
    metric = "pearson"
    problem_type = "regression"

    def label_faults(self, labels: tuple[str, ...]) -> Iterator[str]:
        if labels:
            yield "labels must be empty, since the task is a regression"

    def label_problem(self, label: object, labels: Collection[str]) -> str | None:
        if not isinstance(label, Real) or isinstance(label, bool) or not math.isfinite(label):
            return f"the label is {shown(label)}, not a finite number; correct or remove the row"
        return None

    def names(self, label: Any) -> Iterable[str]:
        """Return nothing, since numeric labels are not counted."""
        return ()

    def placeholder(self, labels: Sequence[str]) -> float:
        return 0.0

    def strata(self, labels: Iterable[Any]) -> npt.NDArray[np.int64]:
        """Return the decile of each number."""
        values = np.fromiter(labels, dtype=np.float64)
        edges = np.quantile(values, np.arange(1, _BINS) / _BINS)
        return np.searchsorted(edges, values).astype(np.int64)

    def stored_type(self) -> pa.DataType:
        import pyarrow as pa

        return pa.float64()

    encoded_type = stored_type

    def encode_label(self, label: Any, ids: Mapping[str, int]) -> Any:
        return label

    def hide_label(self, encoded: Any) -> float:
        return math.nan

    def collate_labels(self, labels: Sequence[Any], length: int) -> Tensor:
        """Return the values, ``(batch,)``."""
        import torch

        return torch.tensor(labels)

    def decode(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return logits[:, 0]

    def answer(
        self,
        logits: npt.NDArray[np.float32],
        labels: Sequence[str],
        thresholds: npt.NDArray[np.float32] | None = None,
    ) -> ValuePrediction:
        return ValuePrediction(float(logits[0]))
