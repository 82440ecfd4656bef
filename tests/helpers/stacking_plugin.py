"""Transforms and a joint strategy whose results are known beforehand."""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import nn

from kdbench import JointStrategy, Strategy, TaskKind, Transform, hookimpl
from kdbench import Params as BaseParams


class Scale(Transform):
    """Multiplies every logit."""

    class Params(BaseParams):
        factor: float = Field(2.0, description="by which the head is multiplied")

    name = "scale"
    title = "Larger logits"
    citation = "Nobody 2026"
    note = "Its logits are larger."
    params: Params

    def transform(self, model, bench):
        with torch.no_grad():
            model.classifier.weight *= self.params.factor
            model.classifier.bias *= self.params.factor
        return model


class Seal(Transform):
    name = "seal"
    title = "The end"
    citation = "Nobody 2026"
    terminal = True
    kinds = frozenset({TaskKind.SEQUENCE_CLASSIFICATION})

    def transform(self, model, bench):
        return model


class Breaks(Strategy):
    name = "breaks"
    title = "Goes wrong"
    citation = "Nobody 2026"

    def fit(self, bench):
        raise ValueError("no luck")


class Together(JointStrategy):
    """Leaves every task's model as it starts, but for a mark that counts the fits of this process."""

    name = "together"
    title = "All at once"
    citation = "Nobody 2026"
    fits = 0

    def fit_jointly(self, benches: Mapping[str, object]) -> Mapping[str, nn.Module]:
        type(self).fits += 1
        models = {}
        for task, bench in benches.items():
            models[task] = bench.train(bench.base())
            with torch.no_grad():
                models[task].classifier.bias.fill_(self.fits)
        return models


@hookimpl
def kdbench_strategies():
    return [Scale, Seal, Breaks, Together]
