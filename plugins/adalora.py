"""Adapt by low-rank updates whose ranks are allocated by importance."""

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
    """Train updates ``P diag(E) Q`` and prune the triplets of all layers that the loss depends on least.

    A triplet is a column of P, a value of E and a row of Q; its importance is the smoothed product of weights and
    gradients (Zhang et al. 2023, sections 3.1 and 3.2). The mean number of triplets per layer falls from
    `initial_r` to `r` by a cubic schedule (equation 12).
    """

    class Params(BaseParams):
        without_effect = frozenset(
            {"patience"}
        )  # the weights of the last step are used, whatever validation says

        r: int = Field(8, ge=1, description="mean rank of the updates after pruning")
        initial_r: int = Field(12, ge=2, description="initial rank of every update, more than r")
        alpha: float = Field(16, gt=0, description="updates are scaled by alpha / initial_r")
        lora_dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the input of the updates")
        orthogonality: float = Field(
            0.1, ge=0, description="gamma, the weight of the regularizer that keeps P and Q orthogonal"
        )
        initial: float = Field(0.1, ge=0, lt=1, description="share of the steps before ranks are pruned")
        final: float = Field(0.5, ge=0, lt=1, description="share of the steps after the last rank is pruned")
        beta: float = Field(
            0.85, gt=0, lt=1, description="decay of the moving averages of importance and of its uncertainty"
        )
        target: tuple[str, ...] = Field(
            ("query", "key", "value", "output.dense", "intermediate.dense"),
            min_length=1,
            description="linear layers to update, by name suffix",
        )

        @model_validator(mode="after")
        def _prunes_ranks(self) -> AdaLoRA.Params:
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
        """Return updates that start as zero (E is zero) and the schedule within the budget's steps.

        Raises:
            UsageError: the budget has a single step, too few to estimate importance.
        """
        from peft import AdaLoraConfig

        steps = bench.steps
        if steps < 2:
            raise UsageError(
                "strategy 'adalora': one optimizer step is too few to prune ranks; take a larger budget"
            )
        return AdaLoraConfig(
            target_r=self.params.r,
            init_r=self.params.initial_r,
            lora_alpha=self.params.alpha,
            lora_dropout=self.params.lora_dropout,
            target_modules=linear_layers(base, self.params.target, strategy=self.name, parameter="target"),
            total_step=steps,
            tinit=int(self.params.initial * steps),
            # Importance needs the gradients of the first step before the last rank is pruned.
            tfinal=min(int(self.params.final * steps), steps - 2),
            beta1=self.params.beta,
            beta2=self.params.beta,
        )

    def fit(self, bench: Bench) -> nn.Module:
        """Return the frozen base model with the updates that remain after pruning.

        The weights are those of the last step: earlier ones have more ranks than the budget of ranks allows.
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
    """Return the orthogonality penalty of the updates of `model`: the mean of ``|Pᵀ P - I|`` and ``|Q Qᵀ - I|``.

    The norm is Frobenius'. Equation 4 of Zhang et al. 2023 sums squared norms; their published code, for which gamma
    was chosen, takes the mean of the norms.
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
