"""The artifact: a model and its tokenizer in a folder, as it would be deployed."""

from __future__ import annotations

import importlib
import json
from operator import attrgetter
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from kdbench.errors import KdbenchError

_MANIFEST = "kdbench.json"


def save_artifact(model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write `model` by its own ``save_pretrained``, the tokenizer, and the name of the model's class.

    Raises:
        KdbenchError: the model has no ``save_pretrained``, wrote a pickle, or is of a class that no other process can
            find.
    """
    saver: Any = model
    if not (
        callable(getattr(saver, "save_pretrained", None))
        and callable(getattr(type(model), "from_pretrained", None))
    ):
        raise KdbenchError(
            f"{type(model).__name__} cannot be deployed: it lacks save_pretrained or from_pretrained"
        )
    if "<locals>" in type(model).__qualname__:
        raise KdbenchError(
            f"{type(model).__name__} cannot be loaded elsewhere: its class stands inside a function; "
            "move it to the top of a module"
        )
    folder.mkdir(parents=True)
    saver.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    pickles = [
        path.name for path in folder.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl", ".pickle")
    ]
    if pickles:
        raise KdbenchError(f"{type(model).__name__} wrote {pickles[0]}, a pickle; write safetensors")
    manifest = {"class": f"{type(model).__module__}:{type(model).__qualname__}"}
    (folder / _MANIFEST).write_text(json.dumps(manifest) + "\n")


def load_artifact(folder: Path) -> nn.Module:
    """Return the model that `save_artifact` wrote, in evaluation mode."""
    module, _, name = json.loads((folder / _MANIFEST).read_text())["class"].partition(":")
    model: nn.Module = attrgetter(name)(importlib.import_module(module)).from_pretrained(folder)
    return model.eval()
