"""Save and load artifacts: a folder with a model and its tokenizer, as it would be deployed."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from kdbench.api.model_classes import find_model_class, model_class_key
from kdbench.errors import KdbenchError
from kdbench.models.foreign import load_weights

_MANIFEST = "kdbench.json"


def save_artifact(model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write `model` by its ``save_pretrained``, the tokenizer, and the registered key of the model's class.

    Raises:
        KdbenchError: the model has no ``save_pretrained``, wrote a pickle, or its class is not registered.
    """
    saveable: Any = model
    if not (
        callable(getattr(saveable, "save_pretrained", None))
        and callable(getattr(type(model), "from_pretrained", None))
    ):
        raise KdbenchError(
            f"{type(model).__name__} cannot be deployed: it lacks save_pretrained or from_pretrained"
        )
    key = model_class_key(type(model))
    folder.mkdir(parents=True)
    saveable.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    pickles = [
        path.name for path in folder.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl", ".pickle")
    ]
    if pickles:
        raise KdbenchError(f"{type(model).__name__} wrote {pickles[0]}, a pickle; write safetensors")
    (folder / _MANIFEST).write_text(json.dumps({"model": key}) + "\n")


def load_artifact(folder: Path) -> nn.Module:
    """Load a model that `save_artifact` wrote, in evaluation mode.

    Raises:
        KdbenchError: no loaded plugin registers its class.
    """
    model_class = artifact_class(folder)
    is_plain = issubclass(model_class, PreTrainedModel)
    model: nn.Module = load_weights(model_class, folder) if is_plain else model_class.from_pretrained(folder)
    return model.eval()


def artifact_class(folder: Path) -> Any:
    """Return the class of the model that `save_artifact` wrote.

    Raises:
        KdbenchError: no loaded plugin registers it.
    """
    manifest = json.loads((folder / _MANIFEST).read_text())
    key = manifest.get("model") or manifest["class"]  # version 0.1 wrote module and class
    return find_model_class(str(key))


_WEIGHTS = "adapter_model.safetensors"
_ADAPTER_NAME = "default"


@dataclass(frozen=True)
class Adapter:
    """A PEFT adapter as read by ``PeftModel.from_pretrained``: its configuration, and the adapter's and head's weights."""

    config: Any
    """A `peft.PeftConfig`."""
    weights: dict[str, Tensor]

    @classmethod
    def of(cls, model: nn.Module) -> Adapter | None:
        """Return a copy of the adapter in `model`; None for a model without one."""
        configs: Any = getattr(model, "peft_config", None)
        if configs is None:
            return None
        from peft import get_peft_model_state_dict

        weights = get_peft_model_state_dict(model, adapter_name=_ADAPTER_NAME, save_embedding_layers=False)
        config = copy.deepcopy(configs[_ADAPTER_NAME])
        config.inference_mode = True
        config.base_model_name_or_path = None  # a path on this machine, meaningless elsewhere
        return cls(config, {name: weight.detach().cpu().clone() for name, weight in weights.items()})

    def save(self, folder: Path) -> None:
        """Write ``adapter_config.json`` and ``adapter_model.safetensors`` to `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {name: weight.contiguous() for name, weight in self.weights.items()},
            folder / _WEIGHTS,
            metadata={"format": "pt"},
        )
        self.config.save_pretrained(str(folder))


def stored_parameters(folder: Path) -> int:
    """Return the number of weights of the adapter saved in `folder`, including the head's."""
    return sum(weight.numel() for weight in load_file(folder / _WEIGHTS).values())
