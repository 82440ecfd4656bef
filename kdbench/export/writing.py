"""A model's files in the form that was asked for."""

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

from kdbench.api.task import TaskKind
from kdbench.errors import UsageError
from kdbench.export.manifest import Format
from kdbench.onnx_model import OnnxModel
from kdbench.quantization import quantize

_CONFIG = "config.json"
_OWN = "kdbench.json"
"""By which kdbench finds the class of an artifact; of no use to others."""
_INTEGERS = (TensorProto.INT8, TensorProto.UINT8)


def formats_of(model: nn.Module) -> list[Format]:
    """Return the forms that `model` can be exported in, the one that most can load first."""
    if isinstance(model, OnnxModel):
        return [Format.ONNX, Format.ONNX_INT8, Format.KDBENCH]
    if isinstance(model, PreTrainedModel) and type(model).__module__.startswith("transformers."):
        return [Format.HF, Format.ONNX, Format.ONNX_INT8, Format.KDBENCH]
    return [Format.ONNX, Format.ONNX_INT8, Format.KDBENCH]


def chosen_format(model: nn.Module, asked: Format | None, strategy: str) -> Format:
    """Return the form to write: `asked`, or the one that most can load.

    Raises:
        UsageError: `model` cannot take the form that was asked for; names those that it can.
    """
    there = formats_of(model)
    if asked is None:
        return there[0]
    if asked in there:
        return asked
    instead = {
        Format.ONNX: "onnx (ONNX Runtime alone runs it)",
        Format.ONNX_INT8: "onnx-int8 (in a quarter of the bytes)",
        Format.KDBENCH: "kdbench (kdbench.load answers from it)",
    }
    raise UsageError(
        f"{strategy} made a {type(model).__name__}, which transformers cannot load plainly; export it by --format "
        f"{' or '.join(instead[one] for one in there)}"
    )


def write_model(
    model: nn.Module,
    form: Format,
    artifact: Path,
    folder: Path,
    *,
    tokenizer: PreTrainedTokenizerBase,
    example: Mapping[str, Tensor],
    kind: TaskKind,
    labels: tuple[str, ...],
) -> None:
    """Write `model`, loaded from `artifact`, and its tokenizer into the empty `folder`.

    Args:
        model: for a graph it is turned to float32 in place.
        example: inputs to hold a graph against the model, see `kdbench.onnx_model.example_inputs`.

    Raises:
        UsageError: the model cannot be exported to ONNX.
    """
    if form in (Format.HF, Format.KDBENCH):
        left_out = shutil.ignore_patterns(_OWN) if form is Format.HF else None
        shutil.copytree(artifact, folder, dirs_exist_ok=True, ignore=left_out)
    else:
        graph = model if isinstance(model, OnnxModel) else OnnxModel.of(model, example)
        if form is Format.ONNX_INT8 and not is_quantized(graph.graph):
            graph = OnnxModel(quantize(graph.graph), graph.config)
        graph.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    if form is not Format.KDBENCH:
        _name_labels(folder / _CONFIG, kind, labels)


def quantizes(model: nn.Module, form: Format) -> bool:
    """Return whether `write_model` makes 8-bit integers of weights that are none in the artifact."""
    return form is Format.ONNX_INT8 and not (isinstance(model, OnnxModel) and is_quantized(model.graph))


def is_quantized(graph: bytes) -> bool:
    """Return whether the serialized ONNX model `graph` holds weights in 8-bit integers."""
    return any(
        tensor.data_type in _INTEGERS and tensor.dims
        for tensor in onnx.load_from_string(graph).graph.initializer
    )


def _name_labels(path: Path, kind: TaskKind, labels: tuple[str, ...]) -> None:
    """Let the configuration at `path` say the labels by name, and be one that transformers reads where it can be."""
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    # Around a transformers model that was changed its own configuration tells readers most.
    config = config.get("architecture", {}).get("config", config)
    config.pop("_name_or_path", None)
    if kind is TaskKind.SEQUENCE_REGRESSION:
        config["problem_type"] = "regression"
        config.update(id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0})
    else:
        config.update(id2label={str(i): label for i, label in enumerate(labels)})
        config.update(label2id={label: i for i, label in enumerate(labels)})
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
