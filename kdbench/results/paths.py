"""Locate the files of a results folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from kdbench.errors import KdbenchError
from kdbench.results.records import Cost, LearningCurve, Size
from kdbench.utils.files import remove_folder
from kdbench.utils.sealed import damage, delete_damaged, described_damage

RECORDS_FILE = "records.jsonl"
"""The file in a board's folder that has all of its records."""
LARGEST_RECORDS_BYTES = 1 << 30
"""The largest such file that is read."""
LARGEST_PREDICTIONS_BYTES = 64 << 20
"""The largest file of predictions that is read from a folder of others."""
LOG_BYTES = 64 << 10
"""The end of a log that is read."""
PLACES_OF_FILES = (
    "*",
    *(f"{part}/*" for part in ("records", "timings", "predictions", "models", "teachers")),
    "teachers/*/*",
    "tuning/*",
    "tuning/teachers/*",
    "tuning/teachers/*/*",
    "tuning/studies/*/*",
    "tuning/studies/*/trials/*",
)
"""Patterns of all that a run writes atomically into a results folder, where the user's own files may lie, too."""


@dataclass(frozen=True)
class CellFiles:
    """The files of one cell."""

    results: Path
    key: str

    @property
    def folder(self) -> Path:
        """The folder of the trained model and of the training stage's files."""
        return self.results / "models" / self.key

    @property
    def artifact(self) -> Path:
        """The model as it would be deployed."""
        return self.folder / "artifact"

    @property
    def adapter(self) -> Path:
        """The adapter that peft trained, before merging; exists only where peft trained one."""
        return self.folder / "adapter"

    @property
    def fit(self) -> Path:
        """The training stage's costs and other results, as `Fit`."""
        return self.folder / "fit.json"

    @property
    def probe(self) -> Path:
        """The model's answers to some examples before it was saved."""
        return self.folder / "probe.safetensors"

    @property
    def predictions(self) -> Path:
        """The reloaded model's answers to every scored example."""
        return self.results / "predictions" / f"{self.key}.safetensors"

    @property
    def noisy_predictions(self) -> Path:
        """The reloaded model's answers to the scored examples with typing errors."""
        return self.results / "predictions" / f"{self.key}.noisy.safetensors"

    @property
    def log(self) -> Path:
        """The output of the cell's processes."""
        return self.results / "logs" / f"{self.key}.log"

    def is_trained(self) -> bool:
        """Return whether the training stage succeeded."""
        return self.fit.is_file()

    def damage(self, *, sizes_only: bool = False) -> str | None:
        """Return what is damaged of the trained model, None where it is whole or was deleted.

        `sizes_only` is as in `kdbench.utils.sealed.damage`.
        """
        damaged = damage(self.folder, sizes_only=sizes_only) if self.folder.is_dir() else {}
        return str(self.folder / described_damage(damaged)) if damaged else None

    def check_model(self) -> None:
        """Check the trained model before it is used.

        Raises:
            KdbenchError: it is damaged. Of its files the damaged ones are deleted, but not the list of all, from which
                the next run sees that they are to be made again.
        """
        damaged = damage(self.folder) if self.folder.is_dir() else {}
        if damaged:
            delete_damaged(self.folder, damaged)
            raise KdbenchError(
                f"the model is damaged ({self.folder / described_damage(damaged)}); the same 'kdbench run' as before makes "
                "it again"
            )

    def remove_model(self) -> None:
        """Delete the trained model."""
        remove_folder(self.folder)


class Fit(BaseModel):
    """What the training stage stores beside the artifact."""

    cost: Cost | None
    """None for a teacher that the user gave: nothing was trained."""
    size: Size
    curves: tuple[LearningCurve, ...] = ()
    """One per training loop, including those of earlier stages."""
    is_teacher: bool
    own_tokenizer: bool = False
    """Whether the artifact's tokenizer differs from the base model's."""
    warnings: tuple[str, ...] = ()
    """Reasons why its scores are not evidence."""
    thresholds: tuple[float, ...] | None = None
    """Of its decisions, see `Predictions`; None where none were chosen."""


def read_fit(files: CellFiles) -> Fit:
    """Read what training stored beside the artifact."""
    return Fit.model_validate_json(files.fit.read_text())
