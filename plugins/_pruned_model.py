"""A transformers model whose layers have different numbers of attention heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdbench_plugins._blocks import attention_blocks
from torch import nn
from transformers import PreTrainedModel

from kdbench.api.models import FolderModel, architecture_of, build_architecture


class PrunedModel(FolderModel):
    """A transformers model with fewer heads in some layers, which its configuration has no words for.

    Args:
        architecture: class and configuration of the model within, as if no head were missing.
        heads: the number of attention heads of each layer.
    """

    def __init__(self, architecture: dict[str, Any], heads: list[int]) -> None:
        super().__init__({"architecture": architecture, "heads": heads})
        self.inner = build_architecture(architecture)
        for block, count in zip(attention_blocks(self.inner, "prune-heads"), heads, strict=True):
            block.keep(range(count))

    @classmethod
    def around(cls, inner: PreTrainedModel) -> PrunedModel:
        """Return `inner`, whose heads were cut, as a model that can be saved."""
        model = cls(**_settings(inner))
        model.inner = inner
        return model

    def forward(self, **inputs: Any) -> Any:
        """Return what the model within answers."""
        return self.inner(**inputs)

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding table of the model within."""
        return self.inner.get_input_embeddings()

    def set_input_embeddings(self, table: nn.Module) -> None:
        """Put `table` in the place of the embedding table of the model within."""
        self.inner.set_input_embeddings(table)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write settings and weights into `folder`; the settings follow what was cut since the start."""
        self.settings = _settings(self.inner)
        super().save_pretrained(folder)


def _settings(inner: PreTrainedModel) -> dict[str, Any]:
    return {
        "architecture": architecture_of(inner),
        "heads": [block.heads for block in attention_blocks(inner, "prune-heads")],
    }
