"""Logit distillation into a bidirectional LSTM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench_plugins.bilstm import BiLSTM, BiLSTMParams
from pydantic import Field

from kdbench import StrategySpec, TaskKind, params_of
from kdbench.api.task import IGNORED

if TYPE_CHECKING:
    from torch import nn

    from kdbench.training.bench import Bench


class BiLSTMKD(BiLSTM):
    """Train a BiLSTM to give the teacher's logits, on the training rows and on variations of them."""

    class Params(BiLSTMParams):
        """A network, how its two losses are weighed, and the rows made up for it."""

        alpha: float = Field(
            0.0, ge=0, le=1, description="weight of the labels' loss; 1 - alpha is the teacher's"
        )
        augmentation: bool = Field(True, description="train on made-up variations of the training rows, too")
        copies: int = Field(
            1,
            ge=1,
            le=100,
            description="variations of each training row; the paper makes 20, or 10 of larger sets, and trains far longer",
        )
        mask_rate: float = Field(0.1, ge=0, le=1, description="chance that a word of a variation is masked")
        replace_rate: float = Field(
            0.1, ge=0, le=1, description="chance that a word of a variation is replaced, if not masked"
        )
        ngram_rate: float = Field(
            0.25, ge=0, le=1, description="chance that a variation keeps but one to five words in a row"
        )

    name = "bilstm-kd"
    title = "Logit distillation into a BiLSTM"
    family = "distillation"
    uses_teacher = True
    learning_rates = dict.fromkeys(TaskKind, 1e-2)
    params: Params

    def control(self) -> StrategySpec:
        """Return the same network, trained on the labels."""
        return StrategySpec(name="bilstm", params=params_of(self.params, BiLSTMParams))

    def fit(self, bench: Bench) -> nn.Module:
        """Return the network, trained on alpha hard loss + (1 - alpha) mean squared difference of logits."""
        from kdbench_plugins._augmentation import augmented_rows
        from kdbench_plugins._bilstm import build_bilstm
        from torch.nn.functional import mse_loss

        from kdbench.api import losses

        p = self.params
        rows = bench.task.train
        if p.augmentation:
            rows = augmented_rows(
                bench,
                copies=p.copies,
                seed=bench.seed,
                mask_rate=p.mask_rate,
                replace_rate=p.replace_rate,
                ngram_rate=p.ngram_rate,
            )

        def loss(student, batch, teacher):  # type: ignore[no-untyped-def]
            labels = batch["labels"]
            counted = labels != IGNORED if labels.dim() > 1 else slice(None)
            soft = mse_loss(student.logits[counted].float(), teacher.logits[counted].float())
            return p.alpha * losses.task_loss(student.logits, labels) + (1 - p.alpha) * soft

        return bench.train(build_bilstm(bench, p), loss=loss, rows=rows, teacher_outputs="logits")
