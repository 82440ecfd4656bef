"""Fine-tune the encoder on pairs of texts, then fit a linear classifier on its embeddings (SetFit)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench_plugins._fit_clock import FitClock
from kdbench_plugins.linear_probe import PENALTIES, Penalties

from kdbench import Bench, Strategy, TaskKind
from kdbench import Params as BaseParams

if TYPE_CHECKING:
    from kdbench_plugins._probe_model import MeanProbe


class SetFit(Strategy):
    """Draw texts of the same label together and others apart, then fit logistic regression on their embeddings.

    A text's embedding is the mean of its tokens in the last layer (Tunstall et al. 2022, section 3). Here the pairs of a
    step are all those within a batch of the budget, so that every strategy sees the same texts as often.
    """

    class Params(BaseParams):
        # Nothing is validated, no loss reads labels, and the head is solved.
        without_effect = frozenset({"patience", "class_weights", "focal_gamma", "new_layers"})

        penalties: Penalties = PENALTIES

    name = "setfit"
    title = "SetFit (contrastive pairs, then a linear classifier)"
    citation = "Tunstall et al. 2022, Efficient Few-Shot Learning Without Prompts, arXiv:2209.11055"
    family = "fine-tuning"
    kinds = frozenset({TaskKind.SEQUENCE_CLASSIFICATION})
    control = "finetune[steps=budget]"
    learning_rates = dict.fromkeys(TaskKind, 1e-4)
    params: Params

    def fit(self, bench: Bench) -> MeanProbe:
        """Return the encoder trained on pairs, with a fitted linear layer.

        Raises:
            UsageError: all training examples have the same label.
        """
        from kdbench_plugins._probe_fits import fit_layer, without_layer
        from kdbench_plugins._probe_model import MeanProbe

        from kdbench import losses

        task = bench.task.task
        model = MeanProbe.around(bench.base(), task.kind.outputs(task.labels))

        def loss(student, batch, teacher):  # type: ignore[no-untyped-def]
            return losses.pair_loss(student.logits, batch["labels"])

        model.encoder.requires_grad_(True)
        with without_layer(model, "classifier"):
            bench.train(model, loss=loss, keep="last")
        clock = FitClock()
        score = fit_layer(model, "classifier", bench, self.params.penalties, strategy=self.name)
        model.requires_grad_(True)
        clock.count(bench, bench.task.train, score)
        return model
