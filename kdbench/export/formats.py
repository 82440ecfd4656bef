"""Write a model in an export format, and open an exported model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from kdbench.api.task import Task, TaskKind
from kdbench.config import default_cache_dir
from kdbench.data.encoding import add_prefix_space
from kdbench.errors import UsageError, one_line
from kdbench.export.manifest import Format, Manifest
from kdbench.models.artifacts import load_artifact
from kdbench.models.base import resolve_base_model
from kdbench.models.build import auto_class, load_base
from kdbench.models.foreign import load_tokenizer, load_weights, refuse_code
from kdbench.models.onnx import OnnxModel, quantize
from kdbench.training.experiment import quiet_libraries

_KDBENCH_FILE = "kdbench.json"
"""Names the class of an artifact for kdbench; other libraries do not need it."""
_INTEGERS = (TensorProto.INT8, TensorProto.UINT8)


def formats_of(model: nn.Module) -> list[Format]:
    """Return the formats that `model` can be exported to, the most portable one first."""
    has_class = isinstance(model, PreTrainedModel) and type(model).__module__.startswith("transformers.")
    return [*([Format.HF] if has_class else []), Format.ONNX, Format.ONNX_INT8, Format.KDBENCH]


def chosen_format(model: nn.Module, requested: Format | None, strategy: str) -> Format:
    """Return the format to write: `requested`, or the most portable one.

    Raises:
        UsageError: `model` does not support the requested format; names those that it supports.
    """
    supported = formats_of(model)
    if requested is None:
        return supported[0]
    if requested in supported:
        return requested
    descriptions = {
        Format.ONNX: "onnx (run by ONNX Runtime)",
        Format.ONNX_INT8: "onnx-int8 (a quarter of the size)",
        Format.KDBENCH: "kdbench (loaded by kdbench.load)",
    }
    raise UsageError(
        f"{strategy} made a {type(model).__name__}, which transformers has no class for; export it with --format "
        f"{' or '.join(descriptions[form] for form in supported)}"
    )


def write_model(
    model: nn.Module,
    form: Format,
    artifact: Path,
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    example: Mapping[str, Tensor],
    task: Task,
) -> None:
    """Write `model`, loaded from `artifact`, and its tokenizer into the empty `folder`.

    Args:
        model: converted to float32 in place for an ONNX graph.
        example: inputs to compare an ONNX graph with the model, see `kdbench.models.onnx.example_inputs`.

    Raises:
        UsageError: the model cannot be exported to ONNX.
    """
    if form in (Format.HF, Format.KDBENCH):
        left_out = shutil.ignore_patterns(_KDBENCH_FILE) if form is Format.HF else None
        shutil.copytree(artifact, folder, dirs_exist_ok=True, ignore=left_out)
    else:
        graph = model if isinstance(model, OnnxModel) else OnnxModel.of(model, example)
        if form is Format.ONNX_INT8 and not is_quantized(graph.graph):
            graph = OnnxModel(quantize(graph.graph), graph.config)
        graph.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    if form is not Format.KDBENCH:
        _name_labels(folder / "config.json", task.kind, task.labels)


def write_tokenizer_as_scored(folder: Path, kind: TaskKind) -> None:
    """Let the tokenizer in `folder` encode the first word of a text as in scoring, where words were encoded one by one."""
    if kind.per_word:
        tokenizer = load_tokenizer(folder)
        if add_prefix_space(tokenizer):
            tokenizer.save_pretrained(folder)


def quantizes(model: nn.Module, form: Format) -> bool:
    """Return whether `write_model` quantizes weights that are not quantized in the artifact."""
    return form is Format.ONNX_INT8 and not (isinstance(model, OnnxModel) and is_quantized(model.graph))


def is_quantized(graph: bytes) -> bool:
    """Return whether the serialized ONNX model `graph` holds weights in 8-bit integers."""
    tensors = onnx.load_from_string(graph).graph.initializer
    return any(tensor.data_type in _INTEGERS and tensor.dims for tensor in tensors)


def _name_labels(path: Path, kind: TaskKind, labels: tuple[str, ...]) -> None:
    """Add label names to the configuration at `path`, and make it one that transformers reads if possible."""
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    # A modified transformers model has its original configuration inside, which is the most useful one.
    config = config.get("architecture", {}).get("config", config)
    config.pop("_name_or_path", None)
    config["problem_type"] = kind.problem_type
    names = kind.output_names(labels)
    config.update(id2label={str(i): name for i, name in enumerate(names)})
    config.update(label2id={name: i for i, name in enumerate(names)})
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def open_model(folder: Path, manifest: Manifest, kind: TaskKind, base: str | None = None) -> nn.Module:
    """Return the model in `folder`, in evaluation mode on the CPU; `base` names an adapter's base model as ``--model``.

    Raises:
        UsageError: a file is missing or damaged, or `base` is not the adapter's base model.
    """
    quiet_libraries()
    refuse_code(folder)
    try:
        return _open(folder, manifest, kind, base).eval()
    except UsageError:
        raise
    except Exception as error:  # the reader of a damaged file may raise anything
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
    except Exception as error:  # the tokenizer's parser may raise anything
        raise _damaged(folder, error) from error


def _open(folder: Path, manifest: Manifest, kind: TaskKind, base: str | None) -> nn.Module:
    model: nn.Module
    if manifest.format is Format.HF:
        model = load_weights(auto_class(kind), folder)
        return model
    if manifest.format is Format.KDBENCH:
        return load_artifact(folder)
    if manifest.format is Format.ADAPTER:
        from peft import PeftModel

        resolved = resolve_base_model(base, default_cache_dir())
        if resolved.sha256 != manifest.base_sha256:
            raise UsageError(
                f"{folder} is an adapter of {manifest.base_model} ({manifest.base_sha256[:8]}), not of {resolved.name} "
                f"({resolved.sha256[:8]}); name its base model"
            )
        plain = load_base(resolved.path, kind, manifest.labels, seed=0)
        model = PeftModel.from_pretrained(plain, str(folder))  # not merged
        return model
    return OnnxModel.from_pretrained(folder)


def _damaged(folder: Path, error: BaseException) -> UsageError:
    is_json = not isinstance(error, json.JSONDecodeError)
    what = one_line(error) if is_json else f"config.json is not JSON ({error})"
    return UsageError(f"the model in {folder} cannot be loaded: {what}; export it again")
