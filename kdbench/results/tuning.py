"""Define the studies and trials of ``kdbench tune``, their store, and what a record says of its row's tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kdbench.results.fields import CellKey, Moment
from kdbench.utils.files import JsonModel, load_json_files, read_json_file, write_atomically
from kdbench.utils.remarks import remark

FOLDER = "tuning"
"""The folder of all tuning in a results folder."""


TUNED: Mapping[str, object] = {"tuned": True}
"""Added to what the key of a cell hashes of a tuned stage, so that its row stands beside an equal one."""


class Tuning(JsonModel):
    """How one strategy's parameters were found, in the record of a tuned cell."""

    strategy: str
    """The name of the stage."""
    params: dict[str, Any]
    """What differs from the row without tuning; empty where no trial was better than the defaults."""
    trials: int
    tuning_s: float
    """Seconds of all trials, without the teacher's training."""
    tuning_cpu_s: float | None = None
    """Processor seconds of all trials; absent where one did not measure them."""
    score: float
    """The best trial's validation score. As the best of several on the same examples it is optimistic."""
    default_score: float | None
    """The validation score of the defaults; None where their trial failed."""
    validation_examples: int
    repeats: int


class Study(JsonModel):
    """The search of one strategy's parameters on one task, or on several that it trains on jointly."""

    schema_version: Literal[1] = 1
    key: CellKey
    """The key of a cell with the defaults and the first tuning seed."""
    strategy: str
    """The strategy's label, with the parameters that the user fixed."""
    tasks: tuple[str, ...]
    metrics: tuple[str, ...]
    """The headline metric of each task."""
    budget: str
    model: str
    weights_sha256: str
    seeds: tuple[int, ...]
    """Every trial is trained once with each; its score is the mean."""
    validation_examples: int
    """The examples that a trial is scored on; of several tasks, those of the smallest."""
    is_unseen: bool
    """Whether nothing else uses these examples; else training validates on them, too, to keep the best weights."""

    @property
    def label(self) -> str:
        """The name of the study in progress and messages."""
        return f"{self.strategy} on {'+'.join(self.tasks)}"


class Trial(JsonModel):
    """One point of a study's search space and its validation score."""

    schema_version: Literal[1] = 1
    study: str
    number: int
    """From 1, which is the strategy's defaults."""
    params: dict[str, Any]
    score: float | None = None
    """The mean of `scores`; None where the trial failed."""
    scores: dict[str, tuple[float, ...]] = {}
    """By task, the headline metric of each seed on the validation examples."""
    reason: str | None = None
    """Why there is no score."""
    seconds: float
    cpu_seconds: float | None = None
    """Processor seconds; absent in older trials and on a GPU."""
    finished_at: Moment

    def misplaced(self, path: Path) -> str | None:
        """Return the problem where the file at `path` is another trial's; else None."""
        return None if path == trial_path(path.parents[1], self.number) else "a copy of another trial"


def params_text(params: Mapping[str, Any]) -> str:
    """Return the parameters that a trial tried, as text."""
    return ", ".join(f"{name}={value}" for name, value in params.items()) or "the defaults"


def trial_path(study: Path, number: int) -> Path:
    """Return the path of trial `number` in the folder of a study."""
    return study / "trials" / f"{number:04}.json"


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the trial with the best score, of equals the first; None where every trial failed."""
    scored = [trial for trial in trials if trial.score is not None]
    return max(scored, key=lambda trial: (trial.score, -trial.number), default=None)


@dataclass(frozen=True)
class SearchResult:
    """A study and its trials so far, in the order of their numbers."""

    study: Study
    trials: Sequence[Trial]

    @property
    def best(self) -> Trial | None:
        """See `best_of`."""
        return best_of(self.trials)

    @property
    def defaults(self) -> Trial | None:
        """The trial of the defaults."""
        return next((trial for trial in self.trials if trial.number == 1), None)

    @property
    def seconds(self) -> float:
        """The seconds of all trials."""
        return sum(trial.seconds for trial in self.trials)

    @property
    def cpu_seconds(self) -> float | None:
        """The processor seconds of all trials; None where one did not measure them."""
        taken = [trial.cpu_seconds for trial in self.trials]
        return None if None in taken else sum(seconds for seconds in taken if seconds is not None)

    def tuning(self, stage: str, best: Trial) -> Tuning:
        """Return what a record says of the strategy `stage` with the parameters of the trial `best`."""
        return Tuning(
            strategy=stage,
            params=best.params,
            trials=len(self.trials),
            tuning_s=self.seconds,
            tuning_cpu_s=self.cpu_seconds,
            score=best.score or 0.0,
            default_score=self.defaults.score if self.defaults else None,
            validation_examples=self.study.validation_examples,
            repeats=len(self.study.seeds),
        )


class StudyStore:
    """The studies of a results folder: ``tuning/studies/<key>/study.json`` and ``…/trials/<number>.json``."""

    def __init__(self, results: Path) -> None:
        self.root = results / FOLDER / "studies"

    def folder(self, key: str) -> Path:
        """Return the folder of the study `key`, whether it exists or not."""
        return self.root / key

    def study(self, key: str) -> Study | None:
        """Return the description of the study `key`, or None where none can be read."""
        path = self.folder(key) / "study.json"
        study, problem = read_json_file(Study, path) if path.exists() else (None, None)
        if problem is not None:
            remark(f"skipped {path}: {problem}")
        return study

    def get(self, key: str) -> SearchResult | None:
        """Return the study `key` with its readable trials, or None where it does not exist."""
        study = self.study(key)
        return None if study is None else SearchResult(study, self.trials(key))

    def trials(self, key: str) -> list[Trial]:
        """Return the readable trials of the study `key`; the user is told of others, which run again."""
        trials, problems = load_json_files(Trial, self.folder(key) / "trials")
        for problem in problems:
            remark(problem)
        return trials

    def trial(self, key: str, number: int) -> Trial | None:
        """Return a trial of the study `key`, or None where none can be read."""
        path = trial_path(self.folder(key), number)
        return read_json_file(Trial, path)[0] if path.exists() else None

    def load(self) -> list[SearchResult]:
        """Return all studies, ordered by tasks and strategy."""
        found = [self.get(folder.name) for folder in sorted(self.root.glob("*"))]
        return sorted((one for one in found if one), key=lambda one: (one.study.tasks, one.study.strategy))

    def put_study(self, study: Study) -> None:
        """Write the description of a study atomically."""
        write_atomically(self.folder(study.key) / "study.json", study.model_dump_json(indent=1) + "\n")

    def put(self, trial: Trial) -> None:
        """Write a trial atomically."""
        path = trial_path(self.folder(trial.study), trial.number)
        write_atomically(path, trial.model_dump_json(indent=1) + "\n")

    def remove(self, trial: Trial) -> None:
        """Delete a trial, so that it runs again."""
        trial_path(self.folder(trial.study), trial.number).unlink(missing_ok=True)
