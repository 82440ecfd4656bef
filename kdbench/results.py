"""Where a results folder keeps what."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

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
