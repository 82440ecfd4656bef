"""The base model with a head for the task, and students cut out of it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from kdbench.api.params import StudentParams
from kdbench.api.task import Task, TaskKind
from kdbench.errors import UsageError


def auto_class(kind: TaskKind) -> Any:
    """Return the class of transformers that puts the head of `kind` on an encoder."""
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
"""What architectures call the widths that grow with the hidden size."""


def load_base(
    folder: Path,
    kind: TaskKind,
    labels: Sequence[str],
    *,
    seed: int,
    dropout: float | None = None,
    new_layers: str = "normal",
) -> PreTrainedModel:
    """Return the encoder in `folder` with a fresh head for `labels`, drawn from `seed`.

    Args:
        new_layers: ``normal``, as the model's own layers are drawn, or ``xavier``: what `folder` has no weights for is
            drawn by Glorot and Bengio 2010, equation 16.
    """
    torch.manual_seed(seed)
    model: PreTrainedModel
    model, loaded = auto_class(kind).from_pretrained(
        folder,
        config=_task_config(folder, kind, labels, dropout),
        dtype=torch.float32,
        output_loading_info=True,
    )
    if new_layers == "xavier":
        for name in sorted(loaded["missing_keys"]):
            _draw_xavier(model.get_parameter(name))
    return model


def build_student(
    params: StudentParams, *, start: PreTrainedModel, kind: TaskKind, seed: int
) -> PreTrainedModel:
    """Return the student that `params` describes: chosen layers of `start`, or a fresh network shaped after it.

    Args:
        start: the teacher, or the base model with a fresh head; it is changed.

    Raises:
        UsageError: `start` has no such layers, or the width does not fit its attention heads.
    """
    kept = kept_layers(params.layers, start.config.num_hidden_layers)
    if starts_fresh(params, start.config):
        return _random_student(start.config, kept, params, kind, seed)
    return keep_layers(start, kept)


def starts_fresh(params: StudentParams, base: PretrainedConfig) -> bool:
    """Return whether the student that `params` describes copies no weights, from the teacher or the base."""
    return (
        params.init == "random"
        or params.hidden_size not in (None, base.hidden_size)
        or params.intermediate_size not in (None, getattr(base, _inner_width(base), None))
    )


def kept_layers(layers: int | tuple[int, ...], depth: int) -> tuple[int, ...]:
    """Return which of `depth` layers a student keeps; a number means evenly spaced from the first.

    Three of six are 0, 2, 4: every second layer, as DistilBERT starts (Sanh et al. 2019, arXiv:1910.01108).
    """
    if isinstance(layers, int):
        if not 1 <= layers <= depth:
            raise UsageError(
                f"layers={layers}: the base model has {depth} layers; keep between 1 and {depth}"
            )
        return tuple(i * depth // layers for i in range(layers))
    if not layers or list(layers) != sorted(set(layers)) or not 0 <= layers[0] <= layers[-1] < depth:
        raise UsageError(
            f"layers={list(layers)}: name layers from 0 to {depth - 1}, each once, in rising order"
        )
    return layers


def keep_layers(model: PreTrainedModel, kept: Sequence[int]) -> PreTrainedModel:
    """Return `model` with none but the transformer layers `kept`, by index."""
    stack = _layer_stack(model)
    layers = list(stack)
    del stack[:]
    stack.extend(layers[i] for i in kept)
    _keep_in_config(model.config, kept)
    return model


def _keep_in_config(config: PretrainedConfig, kept: Sequence[int]) -> None:
    config.num_hidden_layers = len(kept)
    if getattr(config, "layer_types", None):  # local or global attention, layer by layer
        config.layer_types = [config.layer_types[i] for i in kept]


def _layer_stack(model: PreTrainedModel) -> nn.ModuleList:
    """Return the list that holds the encoder's layers, whatever the architecture calls it."""
    depth = model.config.num_hidden_layers
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return module
    raise UsageError(
        f"{type(model).__name__} has no list of {depth} layers to choose from (layers shared by all, perhaps); "
        "set init=random"
    )


def _random_student(
    base: PretrainedConfig, kept: Sequence[int], params: StudentParams, kind: TaskKind, seed: int
) -> PreTrainedModel:
    config = copy.deepcopy(base)
    width = params.hidden_size
    _keep_in_config(config, kept)
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
                _draw_xavier(module.weight)
    return model


def _inner_width(config: PretrainedConfig) -> str:
    """Return what the architecture calls the width within a layer's feed-forward part."""
    return "hidden_dim" if hasattr(config, "hidden_dim") else "intermediate_size"


def _draw_xavier(weight: Tensor) -> None:
    """Draw a matrix anew; biases and the factors of normalizations start as ever."""
    if weight.dim() > 1:
        nn.init.xavier_uniform_(weight)


def _task_config(
    folder: Path, kind: TaskKind, labels: Sequence[str], dropout: float | None
) -> PretrainedConfig:
    config: PretrainedConfig = AutoConfig.from_pretrained(folder)
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}
    else:
        config.num_labels = kind.outputs(labels)
    if kind.problem_type is not None:
        config.problem_type = kind.problem_type  # type: ignore[assignment]  # one that transformers knows
    if dropout is not None:
        for name in _DROPOUTS:
            if getattr(config, name, None) is not None:
                setattr(config, name, dropout)
    return config


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Return the fast tokenizer of the model in `folder`."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, use_fast=True)
    return tokenizer


def check_external_teacher(folder: Path, task: Task, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a model that cannot be the teacher of `task` beside a base model with `tokenizer`.

    Raises:
        UsageError: its labels are not the task's, or it reads other word pieces than the base model.
    """
    _outputs_in_task_order(folder, task)
    if load_tokenizer(folder).get_vocab() != tokenizer.get_vocab():
        raise UsageError(
            f"teacher {folder.name} reads other word pieces than the base model; name by --model a model with the "
            "teacher's vocabulary, such as the one that it was fine-tuned from"
        )


def load_external_teacher(folder: Path, task: Task) -> PreTrainedModel:
    """Return the model in `folder` with its outputs in the order of the task's labels."""
    order = _outputs_in_task_order(folder, task)
    model: PreTrainedModel = auto_class(task.kind).from_pretrained(folder, dtype=torch.float32)
    if order is None:
        return model
    head = _head(model)
    with torch.no_grad():
        head.weight.copy_(head.weight[order].clone())
        if head.bias is not None:
            head.bias.copy_(head.bias[order].clone())
    model.config.id2label = dict(enumerate(task.labels))
    model.config.label2id = {label: index for index, label in enumerate(task.labels)}
    return model


def _outputs_in_task_order(folder: Path, task: Task) -> list[int] | None:
    """Return which output of the model stands for each label of `task`; None where it has none."""
    config = AutoConfig.from_pretrained(folder)
    if not task.labels:
        wanted = task.kind.outputs(task.labels)
        if config.num_labels != wanted:
            raise UsageError(
                f"teacher {folder.name} has {config.num_labels} outputs, but task {task.name!r} is a {task.kind} "
                f"with {wanted}"
            )
        return None
    names = [str(config.id2label[index]) for index in range(config.num_labels)]
    if sorted(names) != sorted(task.labels):
        raise UsageError(
            f"teacher {folder.name} has the labels {', '.join(names)}, but task {task.name!r} has "
            f"{', '.join(task.labels)}; set id2label in its config.json to the task's names"
        )
    return [names.index(label) for label in task.labels]


def _head(model: PreTrainedModel) -> nn.Linear:
    """Return the layer that makes the logits: the last linear one with as many outputs as there are labels."""
    fitting = [
        module
        for module in model.modules()
        if isinstance(module, nn.Linear) and module.out_features == model.config.num_labels
    ]
    if not fitting:
        raise UsageError(
            f"{type(model).__name__} has no linear layer that makes its logits; give another teacher"
        )
    return fitting[-1]
