"""What the strategies that train few weights beside frozen ones share."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from pydantic import Field

from kdbench import Bench, Params, Strategy, UsageError

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from torch import nn
    from transformers import PreTrainedModel


class LongWarmUp(Params):
    """For what reaches every layer through new weights of its own beside a head that starts at random.

    With a tenth of the steps to warm up, they take the shortest way to the most frequent label before the head can tell
    labels apart, and do not come back: in tagging LoRA and adapters ended with no entity found at rates that text
    classification needs.
    """

    warmup: float = Field(
        0.5, ge=0, lt=1, description="share of the steps over which the rate rises linearly"
    )


class ParameterEfficient(Strategy):
    """Train few weights, and leave those of the base model as they are."""

    family = "parameter-efficient"
    freezes_base = True
    control = "finetune[steps=budget]"


class PeftStrategy(ParameterEfficient):
    """Train what peft adds to a frozen base, and the head; merge it into the weights before deployment."""

    @abstractmethod
    def config(self, base: PreTrainedModel, bench: Bench) -> PeftConfig:
        """Return what peft shall add to `base`; `adapt` adds the kind of task and the head.

        Raises:
            UsageError: `base` has no layer of a name that the parameters give.
        """

    def adapt(self, base: PreTrainedModel, bench: Bench) -> PeftModel:
        """Return `base` frozen, with what is trained beside its weights, and the head to be trained, too."""
        from peft import TaskType, get_peft_model

        config = self.config(base, bench)
        tokens = bench.kind.per_word
        config.task_type = TaskType.TOKEN_CLS if tokens else TaskType.SEQ_CLS
        config.modules_to_save = head_modules(base)
        return get_peft_model(base, config)

    def fit(self, bench: Bench) -> nn.Module:
        """Return the base model with what was trained beside its frozen weights."""
        return bench.train(self.adapt(bench.base(), bench))

    def finalize(self, model: nn.Module, bench: Bench) -> nn.Module:
        """Return the plain base model with what was trained merged into its weights."""
        return model.merge_and_unload()


def head_modules(model: PreTrainedModel) -> list[str]:
    """Return the names of the modules outside of the encoder that hold weights: the head, all of it new."""
    return [
        name
        for name, module in model.named_children()
        if module is not model.base_model and any(True for _ in module.parameters())
    ]


def linear_layers(base: nn.Module, ends: tuple[str, ...], *, strategy: str, parameter: str) -> list[str]:
    """Return the full names of the linear layers of `base` whose names end with one of `ends`, whole words.

    Raises:
        UsageError: one of `ends` fits no layer: peft would leave it out in silence where another fits.
    """
    from torch import nn

    linear = [name for name, module in base.named_modules() if isinstance(module, nn.Linear)]
    for end in ends:
        if not _ending(linear, end):
            known = sorted({name.rpartition(".")[2] for name in linear})
            raise UsageError(
                f"strategy {strategy!r}: {type(base).__name__} has no linear layer {end!r}; "
                f"set {parameter} to some of {', '.join(known)}"
            )
    return [name for name in linear if any(_ending([name], end) for end in ends)]


def _ending(names: list[str], end: str) -> list[str]:
    return [name for name in names if f".{name}".endswith(f".{end}")]
