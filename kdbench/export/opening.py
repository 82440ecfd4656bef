"""An exported folder's model."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedTokenizerBase

from kdbench.artifacts import load_artifact
from kdbench.base_model import resolve_base_model
from kdbench.config import default_cache_dir
from kdbench.errors import UsageError, one_line
from kdbench.export.manifest import Format, Manifest
from kdbench.onnx_model import OnnxModel
from kdbench.opening import quiet_libraries
from kdbench.training.models import AUTO_CLASSES, load_base
from kdbench.training.tokenizer import load_tokenizer


def open_model(
    folder: Path, manifest: Manifest, base: str | None = None, cache_dir: Path | None = None
) -> nn.Module:
    """Return the model in `folder`, in evaluation mode on the CPU.

    Args:
        base: of an adapter the base model, as ``--model`` names it.

    Raises:
        UsageError: a file is missing or damaged, or `base` is not the adapter's base model.
    """
    quiet_libraries()
    try:
        return _open(folder, manifest, base, cache_dir or default_cache_dir()).eval()
    except UsageError:
        raise
    # What a damaged file raises is its reader's: torch's, onnxruntime's, json's.
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, ImportError) as error:
        raise _damaged(folder, error) from error


def open_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer in `folder`.

    Raises:
        UsageError: it is missing or damaged.
    """
    if not (folder / "tokenizer.json").is_file():
        raise UsageError(f"{folder} has no tokenizer.json; export the model again")
    try:
        return load_tokenizer(folder)
    except Exception as error:  # a damaged tokenizer raises whatever its parser does
        raise _damaged(folder, error) from error


def adapted(base: Path, folder: Path, manifest: Manifest) -> nn.Module:
    """Return the base model in the folder `base` with the adapter in `folder`, not merged."""
    from peft import PeftModel

    plain = load_base(base, manifest.kind, manifest.labels, seed=0)
    model: nn.Module = PeftModel.from_pretrained(plain, str(folder))
    return model


def _open(folder: Path, manifest: Manifest, base: str | None, cache_dir: Path) -> nn.Module:
    if manifest.format is Format.HF:
        model: nn.Module = AUTO_CLASSES[manifest.kind].from_pretrained(folder, local_files_only=True)
        return model
    if manifest.format is Format.KDBENCH:
        return load_artifact(folder)
    if manifest.format is Format.ADAPTER:
        found = resolve_base_model(base, cache_dir)
        if found.sha256 != manifest.base_sha256:
            raise UsageError(
                f"{folder} is an adapter of {manifest.base_model} ({manifest.base_sha256[:8]}), not of {found.name} "
                f"({found.sha256[:8]}); name its base model"
            )
        return adapted(found.path, folder, manifest)
    try:
        return OnnxModel.from_pretrained(folder)
    except Exception as error:  # onnxruntime's errors share no class
        raise _damaged(folder, error) from error


def _damaged(folder: Path, error: BaseException) -> UsageError:
    what = f"config.json is no JSON ({error})" if isinstance(error, json.JSONDecodeError) else one_line(error)
    return UsageError(f"the model in {folder} cannot be loaded: {what}; export it again")
