"""Build models: the base model with a head for the task, and students made of its layers."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from kdbench.api.params import StudentParams
from kdbench.api.task import TaskKind
from kdbench.errors import UsageError
from kdbench.models.foreign import load_config, load_weights
from kdbench.models.layers import keep_layers, layers_to_keep, set_layers


def auto_class(kind: TaskKind) -> Any:
    """Return the transformers class that adds the head of `kind` to an encoder."""
    return getattr(transformers, kind.auto_class)


_DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "hidden_dropout",
    "attention_dropout",
    "dropout",
    "classifier_dropout",
    "seq_classif_dropout",
)
_WIDTHS = ("intermediate_size", "hidden_dim", "pooler_hidden_size")
"""Names, in various architectures, of the widths that scale with the hidden size."""
_OF_ANOTHER_TASK = ("finetuning_task", "task_specific_params")
"""What a base model's configuration may say of a task that it was fine-tuned on."""


def load_base(
    folder: Path,
    kind: TaskKind,
    labels: Sequence[str],
    *,
    seed: int,
    dropout: float | None = None,
    new_layers: str = "normal",
    fresh_head: bool = True,
) -> PreTrainedModel:
    """Return the encoder in `folder` with a newly initialized head for `labels`, seeded by `seed`.

    Args:
        new_layers: the initialization of weights that `folder` lacks: ``normal``, the model's own, or ``xavier``, the
            uniform distribution of Glorot and Bengio 2010, equation 16.
        fresh_head: False if `folder` has a model of this very task, whose head is kept.

    Raises:
        UsageError: a weight of the encoder has another size than `folder`'s configuration says.
    """
    torch.manual_seed(seed)
    model: PreTrainedModel
    config = _task_config(folder, kind, labels, dropout)
    model, loaded = load_weights(
        auto_class(kind),
        folder,
        config=config,
        dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    encoder = f"{model.base_model_prefix}."
    _check_encoder(folder, encoder, loaded["mismatched_keys"])
    head = {name for name, _ in model.named_parameters() if not name.startswith(encoder)}
    old = head - set(loaded["missing_keys"]) if fresh_head else set()
    if old:  # a head of another task
        torch.manual_seed(seed)
        fresh = auto_class(kind).from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for name in sorted(old):
                model.get_parameter(name).copy_(fresh.get_parameter(name))
    if new_layers == "xavier":
        for name in sorted({*loaded["missing_keys"], *old}):
            _init_xavier(model.get_parameter(name))
    return model


def _check_encoder(folder: Path, encoder: str, mismatched: Iterable[Sequence[Any]]) -> None:
    """Raise a UsageError if a weight of the encoder has not the size that its configuration says."""
    for name, found, expected in mismatched:
        if name.startswith(encoder):
            raise UsageError(
                f"{folder}: {name} has the size {list(found)}, but by config.json {list(expected)}; fetch the model again"
            )


def build_student(
    params: StudentParams, *, start: PreTrainedModel, kind: TaskKind, seed: int
) -> PreTrainedModel:
    """Return the student that `params` describes: selected layers of `start`, or a randomly initialized network like it.

    Args:
        start: the teacher, or the base model with a new head; it is modified.

    Raises:
        UsageError: `start` does not have these layers, or the width does not fit its attention heads.
    """
    kept = layers_to_keep(params.layers, start.config.num_hidden_layers)
    if starts_fresh(params, start.config):
        return _random_student(start.config, kept, params, kind, seed)
    try:
        return keep_layers(start, kept)
    except UsageError as error:
        raise UsageError(f"{error}, or set init=random") from None


def starts_fresh(params: StudentParams, base: PretrainedConfig) -> bool:
    """Return whether the student that `params` describes is randomly initialized, without weights of another model."""
    return (
        params.init == "random"
        or params.hidden_size not in (None, base.hidden_size)
        or params.intermediate_size not in (None, getattr(base, _inner_width(base), None))
    )


def _random_student(
    base: PretrainedConfig, kept: Sequence[int], params: StudentParams, kind: TaskKind, seed: int
) -> PreTrainedModel:
    config = copy.deepcopy(base)
    width = params.hidden_size
    set_layers(config, kept)
    if width is not None:
        if width % config.num_attention_heads:
            raise UsageError(
                f"hidden_size={width} does not divide among the base's {config.num_attention_heads} attention heads; "
                f"take a multiple of {config.num_attention_heads}"
            )
        for name in _WIDTHS:
            if getattr(config, name, None) is not None:
                setattr(config, name, getattr(config, name) * width // config.hidden_size)
        config.hidden_size = width
    if params.intermediate_size is not None:
        setattr(config, _inner_width(config), params.intermediate_size)
    torch.manual_seed(seed)
    model: PreTrainedModel = auto_class(kind).from_config(config)
    if params.new_layers == "xavier":
        for module in model.modules():
            if isinstance(module, nn.Linear):
                _init_xavier(module.weight)
    return model


def _inner_width(config: PretrainedConfig) -> str:
    """Return the architecture's name for the width inside a layer's feed-forward network."""
    return "hidden_dim" if hasattr(config, "hidden_dim") else "intermediate_size"


def _init_xavier(weight: Tensor) -> None:
    """Reinitialize `weight` if it is a matrix; biases and normalization weights keep their usual initialization."""
    if weight.dim() > 1:
        nn.init.xavier_uniform_(weight)


def _task_config(
    folder: Path, kind: TaskKind, labels: Sequence[str], dropout: float | None
) -> PretrainedConfig:
    config = load_config(folder)
    names = kind.output_names(labels)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: i for i, name in enumerate(names)}
    config.problem_type = kind.problem_type  # type: ignore[assignment]  # one that transformers knows
    for name in _OF_ANOTHER_TASK:
        if getattr(config, name, None) is not None:
            setattr(config, name, None)
    if dropout is not None:
        for name in _DROPOUTS:
            if getattr(config, name, None) is not None:
                setattr(config, name, dropout)
    return config
