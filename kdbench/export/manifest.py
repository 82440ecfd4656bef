"""Read and write the manifest of an exported folder, from which `kdbench.load` loads it."""

from __future__ import annotations

import math
from enum import Enum
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from kdbench.errors import UsageError
from kdbench.utils.files import JsonModel, read_json_file

_FILE = "kdbench_export.json"


class Format(str, Enum):
    """The format of an exported model."""

    HF = "hf"
    """Loaded by transformers' Auto classes."""
    ONNX = "onnx"
    """A float32 graph for ONNX Runtime, or the artifact's own graph."""
    ONNX_INT8 = "onnx-int8"
    """A graph whose weights are 8-bit integers."""
    KDBENCH = "kdbench"
    """The artifact unchanged, which only kdbench loads."""
    ADAPTER = "adapter"
    """The adapter that peft trained, without the base model."""

    def __str__(self) -> str:
        return self.value


class Manifest(JsonModel):
    """How an exported model is loaded and called, and how it scored at export."""

    model_config = ConfigDict(extra="ignore")  # a newer version's may say more

    format: Format
    task: str
    kind: str
    """The name of the task's kind."""
    labels: tuple[str, ...]
    """Class names in the order of the logits; empty for regression."""
    paired: bool
    """Whether an example is a pair of texts."""
    max_length: int = Field(ge=1)
    """The number of tokens that texts were truncated to in training and scoring."""
    window_stride: int | None = None
    """The number of tokens that consecutive windows of a longer text share; None where such a text is truncated."""
    window_pooling: Literal["mean", "max"] = "mean"
    """How a text's logits are made from those of its windows."""
    strategy: str
    key: str
    """The cell's key."""
    base_model: str
    base_sha256: str
    thresholds: tuple[float, ...] | None = None
    """Of the logits, above which each of `labels` is given, in multi-label classification; None elsewhere."""
    metric: str
    score: float
    """The headline metric of the exported model on the evaluation split, as a fraction."""

    @property
    def logit_thresholds(self) -> tuple[float, ...]:
        """The threshold of each label's logit: 0 where none were chosen."""
        return self.thresholds or (0.0,) * len(self.labels)

    @property
    def probability_thresholds(self) -> dict[str, float]:
        """The threshold of each label's probability, which is the sigmoid of its logit."""
        pairs = zip(self.labels, self.logit_thresholds, strict=True)
        return {label: round(1 / (1 + math.exp(-threshold)), 6) for label, threshold in pairs}


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write `manifest` into `folder`."""
    (folder / _FILE).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of the exported `folder`.

    Raises:
        UsageError: `kdbench export` did not write the folder, or its manifest is damaged.
    """
    path = folder / _FILE
    if not path.is_file():
        lacks = "has no" if folder.is_dir() else "is not a folder with"
        raise UsageError(f"{folder} {lacks} {_FILE}; name a folder that 'kdbench export' wrote")
    manifest, problem = read_json_file(Manifest, path)
    if manifest is None:
        raise UsageError(f"{path} is damaged: {problem}; export the model again")
    return manifest
