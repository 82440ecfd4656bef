"""What an exported folder says of itself, for `kdbench.load`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from kdbench.errors import UsageError

_FILE = "kdbench_export.json"


class Format(str, Enum):
    """The form of an exported model."""

    HF = "hf"
    """What transformers loads by its Auto classes."""
    ONNX = "onnx"
    """A float32 graph for ONNX Runtime, or the graph that the artifact is."""
    ONNX_INT8 = "onnx-int8"
    """A graph whose weights are 8-bit integers."""
    KDBENCH = "kdbench"
    """The artifact as it is, which kdbench alone loads."""
    ADAPTER = "adapter"
    """What peft trained beside a base model, without the base model."""

    def __str__(self) -> str:
        return self.value


class Manifest(BaseModel):
    """How an exported model is loaded and asked, and what came out at export."""

    model_config = ConfigDict(frozen=True)

    format: Format
    task: str
    kind: str
    """The name of the task's kind."""
    labels: tuple[str, ...]
    """Class names in the order of the logits; empty in regression."""
    paired: bool
    """Whether an example is two texts."""
    max_length: int
    """Word pieces of a text that the model was trained and scored on."""
    strategy: str
    key: str
    """The cell's."""
    base_model: str
    base_sha256: str
    metric: str
    score: float
    """The headline metric of this folder's model on the scored split, as a fraction."""


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write `manifest` into `folder`."""
    (folder / _FILE).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Return what the exported `folder` says of itself.

    Raises:
        UsageError: it is no folder that `kdbench export` wrote.
    """
    path = folder / _FILE
    if not path.is_file():
        there = "has no" if folder.is_dir() else "is no folder with"
        raise UsageError(f"{folder} {there} {_FILE}; name a folder that 'kdbench export' wrote")
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "file"
        raise UsageError(f"{path} is damaged ({place}: {first['msg']}); export the model again") from None
