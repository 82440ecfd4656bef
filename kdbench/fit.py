"""What a cell's training stage leaves beside the artifact for the stages after it."""

from __future__ import annotations

from pydantic import BaseModel

from kdbench.models.build import load_tokenizer
from kdbench.records import Cost, LearningCurve, Size
from kdbench.results import CellFiles
from kdbench.training.experiment import Experiment


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


def with_own_tokenizer(experiment: Experiment, files: CellFiles) -> Experiment:
    """Return `experiment` with its data encoded by the artifact's tokenizer, where that is not the base model's."""
    if not read_fit(files).own_tokenizer:
        return experiment
    return experiment.with_tokenizer(load_tokenizer(files.artifact))
