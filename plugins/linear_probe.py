"""Fit a linear classifier on frozen features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from kdbench_plugins._fit_clock import FitClock
from pydantic import Field

from kdbench import Bench, Strategy, TaskKind, UntrainedParams

if TYPE_CHECKING:
    from torch import nn

Penalties = Annotated[
    tuple[Annotated[float, Field(gt=0)], ...],
    Field(
        min_length=1,
        description="L2 penalties to try, on the weights of standardized features, relative to the mean loss",
    ),
]
PENALTIES: Penalties = (1.0, 0.1, 0.01, 0.001, 0.0001)


class PenaltyParams(UntrainedParams):
    """Parameters of a strategy that only fits a linear layer, to convergence."""

    penalties: Penalties = PENALTIES


class LinearProbe(Strategy):
    """Fit one linear layer on features of the frozen base model that are computed once.

    The features are the mean of a text's tokens in the last layer or, in tagging, what the head's last layer reads.

    Alain and Bengio 2016, section 3.1: the problem is convex and is solved to convergence, by logistic or ridge
    regression. The penalty with the best validation score is chosen.
    """

    Params = PenaltyParams
    name = "linear-probe"
    title = "Linear probe (frozen encoder)"
    citation = (
        "Alain and Bengio 2016, Understanding intermediate layers using linear classifier probes, "
        "arXiv:1610.01644"
    )
    family = "parameter-efficient"
    freezes_base = True
    revision = 2  # 1 read texts through the pooler
    kinds = frozenset(TaskKind)
    params: PenaltyParams

    def fit(self, bench: Bench) -> nn.Module:
        """Return the encoder with a fitted linear layer.

        Raises:
            UsageError: the head does not end with a linear layer, or all training examples have the same label.
        """
        from kdbench_plugins._probe_fits import fit_layer, last_layer
        from kdbench_plugins._probe_model import MeanProbe

        clock = FitClock()
        base, task = bench.base(), bench.task.task
        model: nn.Module = base
        if not task.kind.per_word:
            model = MeanProbe.around(base, task.kind.outputs(task.labels))
        layer = last_layer(base) if task.kind.per_word else "classifier"
        score = fit_layer(model, layer, bench, self.params.penalties, strategy=self.name)
        clock.count(bench, bench.task.train, score)
        return model
