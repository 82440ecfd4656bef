"""Models that transformers has no class for, kept as plain settings and safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from safetensors.torch import load_file, load_model, save_model
from torch import nn
from transformers import PreTrainedModel

_SETTINGS = "settings.json"
_WEIGHTS = "model.safetensors"
_T = TypeVar("_T", bound="FolderModel")


class FolderModel(nn.Module):
    """A model that is built from plain settings: ``cls(**settings)`` gives the same shapes again.

    Args:
        settings: all that the constructor was called with; plain JSON.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.settings = settings

    def save_pretrained(self, folder: str | Path) -> None:
        """Write settings and weights into `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _SETTINGS).write_text(json.dumps(self.settings, indent=1, sort_keys=True) + "\n")
        save_model(self, str(folder / _WEIGHTS))

    @classmethod
    def from_pretrained(cls: type[_T], folder: str | Path) -> _T:
        """Return the model that `save_pretrained` wrote, its weights in the types that they were saved in."""
        model = cls(**json.loads((Path(folder) / _SETTINGS).read_text()))
        weights = Path(folder) / _WEIGHTS
        _take_types(model, weights)
        load_model(model, str(weights))
        return model


def _take_types(model: nn.Module, weights: Path) -> None:
    """Give the weights of `model` the types of those in the file: loading alone would cast what is loaded."""
    saved = load_file(weights)
    for name, weight in model.state_dict(keep_vars=True).items():
        if name in saved:
            weight.data = weight.data.to(saved[name].dtype)


def architecture_of(model: PreTrainedModel) -> dict[str, Any]:
    """Return class and configuration of `model` as plain JSON, for the settings of a `FolderModel` around it."""
    return {"class": type(model).__name__, "config": json.loads(model.config.to_json_string(use_diff=False))}


def build_architecture(architecture: dict[str, Any]) -> PreTrainedModel:
    """Return a model of that class and configuration in float32, its weights drawn at random."""
    model_class: Any = getattr(transformers, architecture["class"])
    model: PreTrainedModel = model_class._from_config(
        model_class.config_class.from_dict(architecture["config"]), dtype=torch.float32
    )
    return model
