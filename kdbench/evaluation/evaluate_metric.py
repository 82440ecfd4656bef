"""Register a metric of the library `evaluate` as a metric of tasks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kdbench.api.kinds import TaskKind
from kdbench.api.metric import WholeMetric
from kdbench.errors import UsageError

if TYPE_CHECKING:
    import evaluate


class EvaluateMetric(WholeMetric):
    """A metric computed by an `evaluate.Metric`; not being a formula on sums, it is recomputed for every resample.

    Args:
        load: returns the metric: its class, or a function such as ``lambda: evaluate.load(folder)``. It is called when
            a score is first needed, as `evaluate` loads torch, which listing plugins must not.
        name: its name in tasks.
        key: which of the values that ``compute`` returns is the score; by default `name`.
        kinds: the task kinds that it applies to; none of those that are ``per_word``.
        title: a description in a few words.
        score_range: the smallest and the largest score.
        options: further arguments of ``compute``, such as ``average="weighted"``.
    """

    def __init__(
        self,
        load: Callable[[], evaluate.Metric],
        name: str,
        *,
        key: str | None = None,
        kinds: frozenset[TaskKind] = frozenset({TaskKind.SEQUENCE_CLASSIFICATION}),
        title: str = "",
        score_range: tuple[float, float] = (0.0, 1.0),
        **options: Any,
    ) -> None:
        self.name = name
        self.title = title
        self.kinds = kinds
        self.score_range = score_range
        self._load = load
        self._key = key or name
        self._options = options

    @cached_property
    def _metric(self) -> evaluate.Metric:
        return self._load()

    def compute(self, predicted: npt.NDArray[Any], references: npt.NDArray[Any]) -> float:
        """Return the metric's value; 0 where it is undefined (NaN).

        Raises:
            UsageError: the metric returns no value with the name `key`.
        """
        values = self._metric.compute(predictions=predicted, references=references, **self._options)
        if not isinstance(values, dict) or self._key not in values:
            computed = ", ".join(values) if isinstance(values, dict) else "nothing"
            raise UsageError(f"metric {self.name!r} computes {computed}, not {self._key!r}; set its key")
        score = float(values[self._key])
        return 0.0 if np.isnan(score) else score

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the metric without its loaded metric, which is loaded again on demand."""
        return {name: value for name, value in vars(self).items() if name != "_metric"}
