"""Low-rank adaptation whose ranks go where they matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench_plugins._parameter_efficient import PeftStrategy, linear_layers
from pydantic import Field, model_validator

from kdbench import Bench, TaskKind, UsageError
from kdbench import Params as BaseParams

if TYPE_CHECKING:
    from peft import AdaLoraConfig
    from torch import Tensor, nn
    from transformers import PreTrainedModel


class AdaLoRA(PeftStrategy):
    """Train updates ``P diag(E) Q`` and drop, all layers together, the triplets that the loss depends on least.

    A triplet is a column of P, a value of E and a row of Q; its importance is the smoothed product of weights and
    gradients (Zhang et al. 2023, sections 3.1 and 3.2). The number of triplets falls from `initial_r` to `r` a layer
    by a cubic schedule (equation 12).
    """

    class Params(BaseParams):
        """The updates' shape and place, and when ranks are dropped."""

        without_effect = frozenset(
            {"patience"}
        )  # the weights of the last step are kept, whatever was validated

        r: int = Field(8, ge=1, description="mean rank of the updates that are kept")
        initial_r: int = Field(12, ge=2, description="rank of every update at the start, more than r")
        alpha: float = Field(16, gt=0, description="updates are scaled by alpha / initial_r")
        lora_dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the updates' input")
        orthogonality: float = Field(
            0.1, ge=0, description="gamma, the weight of the loss that keeps P and Q orthogonal"
        )
        initial: float = Field(
            0.1, ge=0, lt=1, description="share of the steps before the first rank is dropped"
        )
        final: float = Field(
            0.5, ge=0, lt=1, description="share of the steps after the last rank was dropped"
        )
        beta: float = Field(
            0.85, gt=0, lt=1, description="how slowly importance and its uncertainty follow the gradients"
        )
        target: tuple[str, ...] = Field(
            ("query", "key", "value", "output.dense", "intermediate.dense"),
            min_length=1,
            description="which linear layers are updated, by the end of their name",
        )

        @model_validator(mode="after")
        def _there_is_something_to_drop(self) -> AdaLoRA.Params:
            if self.initial_r <= self.r:
                raise ValueError(f"initial_r must be more than r={self.r}, got {self.initial_r}")
            if self.initial + self.final >= 1:
                raise ValueError(f"initial + final must be less than 1, got {self.initial} + {self.final}")
            return self

    name = "adalora"
    title = "AdaLoRA, merged"
    citation = (
        "Zhang et al. 2023, AdaLoRA: Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning, "
        "arXiv:2303.10512"
    )
    learning_rates = dict.fromkeys(TaskKind, 1e-2)
    params: Params

    def config(self, base: PreTrainedModel, bench: Bench) -> AdaLoraConfig:
        """Return updates that change nothing yet, E being zero, and the schedule within the budget's steps.

        Raises:
            UsageError: the budget has a single step, too few to learn what matters.
        """
        from peft import AdaLoraConfig

        steps = bench.steps
        if steps < 2:
            raise UsageError(
                "strategy 'adalora': one optimizer step is too few to drop ranks; take a larger budget"
            )
        return AdaLoraConfig(
            target_r=self.params.r,
            init_r=self.params.initial_r,
            lora_alpha=self.params.alpha,
            lora_dropout=self.params.lora_dropout,
            target_modules=linear_layers(base, self.params.target, strategy=self.name, parameter="target"),
            total_step=steps,
            tinit=int(self.params.initial * steps),
            # The first step's gradients must be seen before the last rank is dropped.
            tfinal=min(int(self.params.final * steps), steps - 2),
            beta1=self.params.beta,
            beta2=self.params.beta,
        )

    def fit(self, bench: Bench) -> nn.Module:
        """Return the base model with the updates that were kept beside its frozen weights.

        Its weights are those of the last step: those validated earlier have more ranks than were granted.
        """
        model = self.adapt(bench.base(), bench)
        gamma = self.params.orthogonality

        def loss(student, batch, teacher):  # type: ignore[no-untyped-def]
            return bench.kind.label_loss(student.logits, batch["labels"]) + gamma * distance_from_orthogonal(
                model
            )

        bench.train(model, loss=loss, keep="last", after_step=model.base_model.update_and_allocate)
        ranks = model.peft_config["default"].rank_pattern
        model.base_model.resize_modules_by_rank_pattern(ranks, "default")
        return model


def distance_from_orthogonal(model: nn.Module) -> Tensor:
    """Return how far the updates of `model` are from orthogonal: the mean of ``|Pᵀ P - I|`` and ``|Q Qᵀ - I|``.

    The norm is Frobenius'. Zhang et al. 2023, equation 4, sums the squares; the mean of the norms is what their
    published code computes, with which gamma was chosen.
    """
    import torch

    distances = []
    for name, weight in model.named_parameters():
        if ".lora_A." in name or ".lora_B." in name:
            rows = weight if ".lora_A." in name else weight.T
            with torch.autocast(weight.device.type, enabled=False):
                products = rows @ rows.T
            distances.append((products - torch.eye(len(rows), device=rows.device)).norm())
    return torch.stack(distances).mean()
