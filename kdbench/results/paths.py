"""Where a results folder keeps what."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from kdbench.results.records import Cost, LearningCurve, Size

RECORDS_FILE = "records.jsonl"
"""The records of a board in one file, in the board's folder."""


@dataclass(frozen=True)
class CellFiles:
    """The files of one cell."""

    results: Path
    key: str

    @property
    def folder(self) -> Path:
        """The trained model and what the training stage noted."""
        return self.results / "models" / self.key

    @property
    def artifact(self) -> Path:
        """The model as it would be deployed."""
        return self.folder / "artifact"

    @property
    def adapter(self) -> Path:
        """What peft trained, before it was merged; there only where peft trained something."""
        return self.folder / "adapter"

    @property
    def fit(self) -> Path:
        """What training took."""
        return self.folder / "fit.json"

    @property
    def probe(self) -> Path:
        """The model's answers on some examples, before it was saved."""
        return self.folder / "probe.safetensors"

    @property
    def predictions(self) -> Path:
        """The reloaded model's answers on every scored example."""
        return self.results / "predictions" / f"{self.key}.safetensors"

    @property
    def noisy_predictions(self) -> Path:
        """The reloaded model's answers on the scored examples with typing errors."""
        return self.results / "predictions" / f"{self.key}.noisy.safetensors"

    @property
    def log(self) -> Path:
        """What the cell's processes printed."""
        return self.results / "logs" / f"{self.key}.log"

    def is_trained(self) -> bool:
        """Return whether the training stage ended well."""
        return self.fit.is_file()

    def remove_model(self) -> None:
        """Delete the trained model."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Fit(BaseModel):
    """What the training stage leaves beside the artifact."""

    cost: Cost | None
    """None for a teacher that the user gave: nothing was trained."""
    size: Size
    curves: tuple[LearningCurve, ...] = ()
    """One a training loop, the stages before included."""
    is_teacher: bool
    own_tokenizer: bool = False
    """Whether the artifact's tokenizer is another than the base model's."""
    warnings: tuple[str, ...] = ()
    """What makes its scores no evidence."""


def read_fit(files: CellFiles) -> Fit:
    """Return what training left beside the artifact."""
    return Fit.model_validate_json(files.fit.read_text())
