"""Load configurations, tokenizers and weights of model folders that others made, without running code of theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase

from kdbench.errors import UsageError
from kdbench.models.inputs import missing_settings
from kdbench.utils.plain_files import read_plain

_NAMES_CODE = "auto_map"
"""The entry by which transformers finds classes in a model's own ``.py`` files."""
_FILES = ("config.json", "tokenizer_config.json", "adapter_config.json")
_MAX_BYTES = 64 << 20
"""Of a JSON file; a vocabulary listed in one takes a few MB."""
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle")


def refuse_code(folder: Path) -> None:
    """Check that the model in `folder` needs no code of its own and has no pickle for weights.

    Raises:
        UsageError: it does; names the file.
    """
    for name in _FILES:
        if _NAMES_CODE in json_object(folder / name):
            raise UsageError(
                f"{folder / name} names Python code of the model's own ({_NAMES_CODE}), which kdbench does not run; "
                "choose a model of an architecture that transformers has"
            )
    pickles = [path.name for path in sorted(folder.glob("*")) if path.suffix in _PICKLES]
    if pickles and not any(folder.glob("*.safetensors")):
        raise UsageError(
            f"{folder} has a pickle for weights ({pickles[0]}), which could run code; save them as .safetensors"
        )


def load_config(folder: Path) -> PretrainedConfig:
    """Return the configuration of the model in `folder`."""
    config: PretrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    return config


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Return the fast tokenizer of the model in `folder`, which makes only what a transformers model there can read."""
    tokenizer = _tokenizer(folder)
    try:
        config = load_config(folder)
    except (OSError, ValueError, KeyError):  # a model of another library, or only a tokenizer
        return tokenizer
    missing = missing_settings(tokenizer, config)
    return _tokenizer(folder, **missing) if missing else tokenizer


def _tokenizer(folder: Path, **settings: Any) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        folder, use_fast=True, trust_remote_code=False, **settings
    )
    return tokenizer


def load_weights(model_class: Any, folder: Path, **settings: Any) -> Any:
    """Return what ``model_class.from_pretrained`` makes of the safetensors in `folder`."""
    return model_class.from_pretrained(
        folder, trust_remote_code=False, use_safetensors=True, local_files_only=True, **settings
    )


def json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`; an empty one for any other file, which its reader reports."""
    try:
        content = json.loads(read_plain(path, _MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
