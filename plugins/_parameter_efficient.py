"""Share base classes and helpers among parameter-efficient strategies."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from pydantic import Field

from kdbench import Bench, Params, Strategy, UsageError

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from torch import nn
    from transformers import PreTrainedModel

    from kdbench import structure


NAMES_MODULES = ("auto_mapping", "megatron_config", "megatron_core")
"""Settings of peft that name modules to import; files of strangers may contain them."""


class LongWarmUp(Params):
    """Warm up over half of the steps, for strategies that add weights to every layer and start with a random head.

    With a tenth of the steps for warm-up, they collapse to the most frequent label before the head can separate labels,
    and do not recover: in tagging, LoRA and adapters predicted no entity at the rates that text classification needs.
    """

    warmup: float = Field(
        0.5, ge=0, lt=1, description="share of the steps over which the learning rate rises linearly"
    )


class ParameterEfficient(Strategy):
    """Train few weights and freeze those of the base model."""

    family = "parameter-efficient"
    freezes_base = True
    revision = 2  # 1 froze a pooler that pretraining had not trained, and adapters started with a bottleneck of nearly zero
    control = "finetune[steps=budget]"


def freeze_encoder(model: PreTrainedModel) -> None:
    """Freeze all weights of `model` except those that pretraining has not trained, see `kdbench.new_layers`."""
    from kdbench import new_layers

    model.requires_grad_(False)
    for name in new_layers(model):
        model.get_submodule(name).requires_grad_(True)


class PeftStrategy(ParameterEfficient):
    """Train a peft adapter on a frozen base, and the new modules; merge the adapter into the weights before deployment."""

    @abstractmethod
    def config(self, base: PreTrainedModel, bench: Bench) -> PeftConfig:
        """Return the peft configuration for `base`; `adapt` sets the task type and the head.

        Raises:
            UsageError: `base` has no layer with a name that the parameters give.
        """

    def adapt(self, base: PreTrainedModel, bench: Bench) -> PeftModel:
        """Return `base` frozen, with the trainable peft adapter and trainable new modules."""
        from peft import TaskType, get_peft_model

        from kdbench import new_layers

        config = self.config(base, bench)
        tokens = bench.kind.per_word
        config.task_type = TaskType.TOKEN_CLS if tokens else TaskType.SEQ_CLS
        config.modules_to_save = _saved_whole(new_layers(base), f"{base.base_model_prefix}.")
        return get_peft_model(base, config)

    def fit(self, bench: Bench) -> nn.Module:
        """Return the frozen base model with its trained peft adapter and head."""
        return bench.train(self.adapt(bench.base(), bench))

    def finalize(self, model: nn.Module, bench: Bench) -> nn.Module:
        """Return the plain base model with the peft adapter merged into its weights."""
        unwrap_saved_modules(model)
        return model.merge_and_unload()


def unwrap_saved_modules(model: PeftModel) -> None:
    """Put the trained modules of ``modules_to_save`` in their places.

    peft does so itself for all methods but (IA)³, which takes each for a single layer: RoBERTa's head has two.
    """
    from peft.utils import ModulesToSaveWrapper

    plain = model.base_model.model
    for name, module in list(plain.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):
            trained = module.unload_and_optionally_merge_module(
                merge=True, safe_merge=False, adapter_names=None
            )
            plain.set_submodule(name, trained)


def _saved_whole(layers: list[str], encoder: str) -> list[str]:
    """Return `layers`, with the head's modules in place of their parts.

    peft always trains a copy of a module called ``classifier``: a part of it named beside it would be trained twice, in a
    copy that no forward pass reads.
    """
    return list(
        dict.fromkeys(name if name.startswith(encoder) else name.partition(".")[0] for name in layers)
    )


def linear_layers(
    base: PreTrainedModel, ends: tuple[str, ...], *, strategy: str, parameter: str
) -> list[str]:
    """Return the full names of the linear layers of `base` that end with one of `ends` at a dot.

    A name of BERT's stands for the layers that do the same in the architecture of `base`, where no name ends so.

    Raises:
        UsageError: one of `ends` matches no layer: peft ignores it silently where another matches.
    """
    from torch import nn

    linear = [name for name, module in base.named_modules() if isinstance(module, nn.Linear)]
    found: set[str] = set()
    for end in ends:
        names = _with_suffix(linear, end) or _with_role(base, end)
        if not names:
            known = sorted({name.rpartition(".")[2] for name in linear})
            raise UsageError(
                f"strategy {strategy!r}: {type(base).__name__} has no linear layer {end!r}; "
                f"set {parameter} to some of {', '.join(known)}"
            )
        found.update(names)
    return [name for name in linear if name in found]


def attention_outputs(base: PreTrainedModel) -> set[str]:
    """Return the full names of the linear layers that end the attention of `base`; none where its layers are unknown."""
    return set(_with_role(base, "attention.output.dense"))


def _with_role(base: PreTrainedModel, role: str) -> list[str]:
    """Return the full names of the linear layers of `base` that do what BERT's layer `role` does, whatever they are called.

    One layer that computes queries, keys and values stands for each of them.
    """
    from kdbench import structure

    whole = structure.find_structure(base)
    layers = [] if whole is None else [_roles(layer).get(role, ()) for layer in whole.layers]
    wanted = {id(linear) for parts in layers for linear in parts}
    return [name for name, module in base.named_modules() if id(module) in wanted]


def _roles(layer: structure.Layer) -> dict[str, tuple[nn.Module, ...]]:
    """Return the linear layers of a transformer layer by their names in BERT."""
    attention, network = layer.attention, layer.feed_forward
    roles: dict[str, tuple[nn.Module, ...]] = {
        "attention.output.dense": (layer.attention_output,),
        "intermediate.dense": tuple(projection.linear for projection in network.inner),
        "output.dense": (layer.attention_output, network.outer),  # in BERT both are called so
    }
    if attention is not None:
        for name in ("query", "key", "value"):
            roles[name] = (getattr(attention, name).linear,)
    return roles


def encoder_layers(base: PreTrainedModel) -> list[str]:
    """Return the full names of all linear layers of the encoder of `base`, without those that pretraining left untrained."""
    from torch import nn

    from kdbench import new_layers

    prefix, new = f"{base.base_model_prefix}.", set(new_layers(base))
    return [
        name
        for name, module in base.named_modules()
        if isinstance(module, nn.Linear) and name.startswith(prefix) and name not in new
    ]


def _with_suffix(names: list[str], end: str) -> list[str]:
    return [name for name in names if f".{name}".endswith(f".{end}")]
