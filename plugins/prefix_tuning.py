"""Train a prefix of keys and values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench_plugins._parameter_efficient import ParameterEfficient
from pydantic import Field

from kdbench import Bench, TaskKind
from kdbench import Params as BaseParams

if TYPE_CHECKING:
    from torch import nn


class PrefixTuning(ParameterEfficient):
    """Train keys and values that every layer attends to before those of the text, and the head (Li and Liang 2021)."""

    class Params(BaseParams):
        length: int = Field(10, ge=1, description="number of prefix positions")
        network: bool = Field(
            False,
            description="train the prefix as the output of a small network, dropped after training; needs many steps",
        )
        network_width: int = Field(512, ge=1, description="width of that network's hidden layer")

    name = "prefix-tuning"
    title = "Prefix tuning"
    citation = (
        "Li and Liang 2021, Prefix-Tuning: Optimizing Continuous Prompts for Generation, arXiv:2101.00190"
    )
    note = "Its prefix cannot be merged: every layer attends to more positions than the text has."
    learning_rates = dict.fromkeys(TaskKind, 2.7e-2)
    params: Params

    def fit(self, bench: Bench) -> nn.Module:
        """Return the frozen base model with a trained prefix and head.

        Raises:
            UsageError: the attention of the base model takes no keys and values but the text's.
        """
        from kdbench_plugins._prefix_model import PrefixModel

        width = self.params.network_width if self.params.network else None
        model = PrefixModel.around(bench.base(), self.params.length, width)
        bench.train(model)
        return model.fold()
