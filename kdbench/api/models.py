"""Save and load models that transformers has no class for, as JSON settings and safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from safetensors.torch import load_file, load_model, save_model
from torch import nn
from transformers import PreTrainedModel

from kdbench.api.model_classes import is_transformers_model
from kdbench.errors import KdbenchError

_SETTINGS = "settings.json"
_WEIGHTS = "model.safetensors"
_T = TypeVar("_T", bound="FolderModel")


class FolderModel(nn.Module):
    """A model defined by plain settings: ``cls(**settings)`` rebuilds the same architecture.

    Args:
        settings: all arguments of the subclass's constructor; plain JSON values.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.settings = settings

    def save_pretrained(self, folder: str | Path) -> None:
        """Write settings and weights to `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _SETTINGS).write_text(json.dumps(self.settings, indent=1, sort_keys=True) + "\n")
        save_model(self, str(folder / _WEIGHTS))

    @classmethod
    def from_pretrained(cls: type[_T], folder: str | Path) -> _T:
        """Load a model that `save_pretrained` wrote, with weights in their saved dtypes."""
        model = cls(**json.loads((Path(folder) / _SETTINGS).read_text()))
        weights = Path(folder) / _WEIGHTS
        saved = load_file(weights)
        for name, weight in model.state_dict(keep_vars=True).items():
            if name in saved:  # loading would otherwise cast the file's weights to the model's dtypes
                weight.data = weight.data.to(saved[name].dtype)
        load_model(model, str(weights))
        return model


def architecture_of(model: PreTrainedModel) -> dict[str, Any]:
    """Return the class and configuration of `model` as JSON values, for the settings of a `FolderModel` that wraps it."""
    return {"class": type(model).__name__, "config": json.loads(model.config.to_json_string(use_diff=False))}


def build_architecture(architecture: dict[str, Any]) -> PreTrainedModel:
    """Return a randomly initialized float32 model of the class and configuration in `architecture`.

    Raises:
        KdbenchError: the class is no model of transformers.
    """
    name = architecture["class"]
    if not is_transformers_model(name):
        raise KdbenchError(f"transformers has no model class {name!r}")
    model_class: Any = getattr(transformers, name)
    model: PreTrainedModel = model_class._from_config(
        model_class.config_class.from_dict(architecture["config"]), dtype=torch.float32
    )
    return model
