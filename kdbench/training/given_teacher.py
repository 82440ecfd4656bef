"""A teacher that the user gives: a fine-tuned model whose labels are the task's, in whatever order."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

from kdbench.api.task import Task, TaskKind
from kdbench.errors import UsageError
from kdbench.training.models import AUTO_CLASSES
from kdbench.training.tokenizer import load_tokenizer


def check_given_teacher(folder: Path, task: Task, tokenizer: PreTrainedTokenizerBase) -> None:
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


def load_given_teacher(folder: Path, task: Task) -> PreTrainedModel:
    """Return the model in `folder` with its outputs in the order of the task's labels."""
    order = _outputs_in_task_order(folder, task)
    model: PreTrainedModel = AUTO_CLASSES[TaskKind(task.kind)].from_pretrained(folder, dtype=torch.float32)
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
    """Return which output of the model stands for each label of `task`; None for regression, which has one."""
    config = AutoConfig.from_pretrained(folder)
    if task.kind is TaskKind.SEQUENCE_REGRESSION:
        if config.num_labels != 1:
            raise UsageError(
                f"teacher {folder.name} has {config.num_labels} outputs, but task {task.name!r} is a regression with one"
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
