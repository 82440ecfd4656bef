"""Low-rank adaptation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from kdbench import Params as BaseParams
from kdbench import Strategy, TaskKind, UsageError

if TYPE_CHECKING:
    from torch import nn

    from kdbench.training.bench import Bench


class LoRA(Strategy):
    """Train low-rank updates of frozen weights and the head; merge them into the weights before deployment."""

    class Params(BaseParams):
        """The updates' shape and place."""

        r: int = Field(8, ge=1, description="rank of the updates")
        alpha: float = Field(16, gt=0, description="updates are scaled by alpha / r")
        lora_dropout: float = Field(0.1, ge=0, lt=1, description="dropout on the updates' input")
        target: tuple[str, ...] = Field(
            ("query", "value"),
            min_length=1,
            description="which linear layers are updated, by the end of their name",
        )

    name = "lora"
    title = "LoRA, merged"
    reference = "Hu et al. 2022, LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685"
    family = "parameter-efficient"
    learning_rates = dict.fromkeys(TaskKind, 0.002)
    params: Params

    def fit(self, bench: Bench) -> nn.Module:
        """Return the base model with trained updates beside its frozen weights."""
        return bench.train(self.adapt(bench.base(), bench.task.task.kind))

    def adapt(self, base: nn.Module, kind: TaskKind) -> nn.Module:
        """Return `base` frozen, with updates that change nothing yet.

        Raises:
            UsageError: `base` has no linear layer of a name in `target`.
        """
        from peft import LoraConfig, TaskType, get_peft_model

        self._check_target(base)
        tokens = kind is TaskKind.TOKEN_CLASSIFICATION
        config = LoraConfig(
            task_type=TaskType.TOKEN_CLS if tokens else TaskType.SEQ_CLS,
            r=self.params.r,
            lora_alpha=self.params.alpha,
            lora_dropout=self.params.lora_dropout,
            target_modules=list(self.params.target),
        )
        return get_peft_model(base, config)

    def finalize(self, model: nn.Module, bench: Bench) -> nn.Module:
        """Return the base model with the updates added to its weights."""
        return model.merge_and_unload()

    def _check_target(self, base: nn.Module) -> None:
        """Refuse a name that fits no layer: peft would leave it out in silence where another name fits."""
        from torch import nn

        linear = [name for name, module in base.named_modules() if isinstance(module, nn.Linear)]
        for target in self.params.target:
            if not any(f".{name}".endswith(f".{target}") for name in linear):
                known = sorted({name.rpartition(".")[2] for name in linear})
                raise UsageError(
                    f"strategy 'lora': {type(base).__name__} has no linear layer {target!r}; "
                    f"set target to some of {', '.join(known)}"
                )
