"""Find out what a model that the user names as the teacher is, and load one that is trained already.

A classifier of the task's kind is used as it is; a pretrained encoder without such a head is fine-tuned on the task.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from kdbench.api.task import Task, TaskKind
from kdbench.errors import UsageError
from kdbench.models.build import auto_class
from kdbench.models.foreign import load_config, load_tokenizer, load_weights

_HEAD = "For"
"""Begins the part of a class's name that says what a model's head is for, as in BertForTokenClassification."""


def check_external_teacher(folder: Path, task: Task) -> bool:
    """Return whether the model in `folder` is trained for `task`; if not, it is an encoder that can be fine-tuned.

    Raises:
        UsageError: it is a classifier, but of another kind or of other labels.
    """
    head, expected = _head_of(folder), _name_of_head(task.kind)
    if head == expected:
        _outputs_in_task_order(folder, task)
        return True
    if head in {_name_of_head(kind) for kind in (*TaskKind, task.kind)}:
        raise UsageError(
            f"teacher {folder.name} is a model for {head.removeprefix(_HEAD)}, but task {task.name!r} is a {task.kind}; name "
            f"one {_HEAD.lower()} {expected.removeprefix(_HEAD)}, or an encoder without a head, which is fine-tuned"
        )
    return False


def _head_of(folder: Path) -> str:
    """Return what the model in `folder` has a head for, as transformers calls it; an encoder alone has none."""
    architectures = load_config(folder).architectures or [""]
    _, found, purpose = str(architectures[0]).rpartition(_HEAD)
    return found + purpose if found else ""


def _name_of_head(kind: TaskKind) -> str:
    return _HEAD + kind.auto_class.rpartition(_HEAD)[2]


def gives_layers(teacher: Path, base: Path) -> bool:
    """Return whether students of the base model can start from the layers of the teacher: both are of one shape.

    That is one architecture, width and vocabulary, whatever their numbers of layers; a fine-tuned base model is the usual
    case.
    """
    first, second = load_config(teacher), load_config(base)
    return (
        first.model_type == second.model_type
        and first.hidden_size == second.hidden_size
        and load_tokenizer(teacher).get_vocab() == load_tokenizer(base).get_vocab()
    )


def load_external_teacher(folder: Path, task: Task) -> PreTrainedModel:
    """Load the classifier in `folder`, with its outputs reordered to the task's labels.

    Raises:
        UsageError: its labels are not the task's, or weights are missing.
    """
    order = _outputs_in_task_order(folder, task)
    model: PreTrainedModel
    model, loaded = load_weights(auto_class(task.kind), folder, dtype=torch.float32, output_loading_info=True)
    if loaded["missing_keys"]:
        raise UsageError(
            f"teacher {folder.name} lacks the weights {', '.join(sorted(loaded['missing_keys']))}; save it again with "
            "save_pretrained"
        )
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
    """Return the index of the model's output for each label of `task`; None if the task has no labels."""
    config: Any = load_config(folder)
    if not task.labels:
        expected = task.kind.outputs(task.labels)
        if config.num_labels != expected:
            raise UsageError(
                f"teacher {folder.name} has {config.num_labels} outputs, but task {task.name!r} is a {task.kind} "
                f"with {expected}"
            )
        return None
    names = [str(config.id2label[index]) for index in range(config.num_labels)]
    expected_names = task.kind.output_names(task.labels)
    if sorted(names) != sorted(expected_names):
        raise UsageError(
            f"teacher {folder.name} has the labels {', '.join(names)}, but task {task.name!r} has "
            f"{', '.join(expected_names)}; set id2label in its config.json to the task's names"
        )
    return [names.index(name) for name in expected_names]


def _head(model: PreTrainedModel) -> nn.Linear:
    """Return the layer that computes the logits: the last linear layer with as many outputs as there are labels."""
    candidates = [
        module
        for module in model.modules()
        if isinstance(module, nn.Linear) and module.out_features == model.config.num_labels
    ]
    if not candidates:
        raise UsageError(
            f"{type(model).__name__} has no linear layer that computes its logits; choose another teacher"
        )
    return candidates[-1]
