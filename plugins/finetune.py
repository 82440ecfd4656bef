"""Fine-tune the whole base model: the teacher's row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from kdbench import Bench, Strategy
from kdbench import Params as BaseParams

if TYPE_CHECKING:
    from torch import nn


class FineTune(Strategy):
    """Train every weight of the base model on the labels."""

    class Params(BaseParams):
        steps: Literal["teacher", "budget"] = Field(
            "teacher",
            description="train for the steps of the teacher, or for the budget's steps as every other strategy",
        )

    name = "finetune"
    title = "Full fine-tuning (the teacher)"
    citation = "Devlin et al. 2019, BERT: Pre-training of Deep Bidirectional Transformers, arXiv:1810.04805"
    family = "fine-tuning"
    is_teacher_row = True
    params: Params

    def fit(self, bench: Bench) -> nn.Module:
        return bench.train(bench.base()) if self.params.steps == "budget" else bench.finetuned()
