"""Join the models of several tasks into one with a shared encoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.utils.generic import ModelOutput

from kdbench.models.cost import trainable_bytes


class MultiTaskModel(nn.Module):
    """Models of one architecture, one per task, that share all parts of the encoder which they have in common.

    If the architecture has a pooler for texts but none for tokens, as BERT does, the tasks on texts share the pooler.

    Args:
        by_task: the models, all from the same base model; the parts of their encoders are replaced by the first model's.
    """

    def __init__(self, by_task: Mapping[str, PreTrainedModel]) -> None:
        super().__init__()
        self.by_task = dict(by_task)
        self._models = nn.ModuleList(by_task.values())
        _share_encoder(list(by_task.values()))

    def forward(self, *, task: str, **inputs: Any) -> ModelOutput:
        """Return the outputs, including ``.logits``, of the model of `task` on a batch of `task`."""
        outputs: ModelOutput = self.by_task[task](**inputs)
        return outputs

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding table that all tasks share."""
        return next(iter(self.by_task.values())).get_input_embeddings()

    def set_input_embeddings(self, table: nn.Module) -> None:
        """Set `table` as the embedding table of every task's model."""
        for model in self.by_task.values():
            model.set_input_embeddings(table)

    def shared_weights(self) -> list[nn.Parameter]:
        """Return the weights that all tasks share."""
        owners = Counter(id(weight) for model in self.by_task.values() for weight in model.parameters())
        return [weight for weight in self.parameters() if owners[id(weight)] == len(self.by_task)]

    def head_bytes(self, task: str) -> int:
        """Return the bytes of the trainable weights that the model of `task` has beyond its encoder."""
        model = self.by_task[task]
        return trainable_bytes(model) - trainable_bytes(model.base_model)


def _share_encoder(models: Sequence[PreTrainedModel]) -> None:
    """Replace each part of the encoders by the part of the same name in the first encoder that has it."""
    shared: dict[str, Any] = {}
    for model in models:
        encoder = model.base_model
        parts: list[tuple[str, Any]] = [*encoder.named_children(), *encoder.named_parameters(recurse=False)]
        for name, part in parts:
            setattr(encoder, name, shared.setdefault(name, part))
