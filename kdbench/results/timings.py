"""Define the timing of a task, the result of its latency phase, and read and write timings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from kdbench.budgets import BackEnd
from kdbench.results.fields import CellKey, Moment
from kdbench.results.records import Environment
from kdbench.utils.files import JsonModel, load_json_files, write_atomically


class Point(JsonModel):
    """Calls of one model with batches of one size; values that were not measured are absent, and `reason` says why."""

    batch_size: int = Field(ge=1)
    length: int | None
    """Word pieces of every sentence, without padding; None where the sentences are the task's own."""
    calls: int
    p50_ms: float | None = None
    p90_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    throughput_per_s: float | None = None
    """Sentences answered per second of calls."""
    speedup: float | None = None
    """The median over rounds of the teacher's time in PyTorch divided by this model's."""
    speedup_low: float | None = None
    speedup_high: float | None = None
    """The 95% interval of `speedup`: a moving-block bootstrap over rounds."""
    reason: str | None = None
    """Why a value is absent."""


class BackEndTiming(JsonModel):
    """One model in one back end."""

    back_end: BackEnd
    device: str
    points: tuple[Point, ...] = ()
    """The first is that of the task's own sentences, one by one."""
    warm_up_calls: int = 0
    warm: bool = False
    """Whether the time per call was stable when the warm-up ended."""
    score_lost: float | None = None
    """How much higher the artifact itself scores than in this back end, on the same examples; None where that was not
    measured: in float32, which gives the same answers, and in the back end that the artifact is scored in."""
    reason: str | None = None
    """Why the model did not run here."""

    @property
    def unsteady_after(self) -> int | None:
        """The number of warm-up calls after which times were not stable yet; None where they were, or it is unknown."""
        return self.warm_up_calls or None if not self.warm else None


class Tokenization(JsonModel):
    """The time for tokenizing one sentence with the artifact's own tokenizer."""

    calls: int
    p50_ms: float
    mean_ms: float


class ModelTiming(JsonModel):
    """One artifact's latency, from rounds shared with all other artifacts of its task."""

    key: CellKey
    """The key of the cell that produced the artifact."""
    back_ends: tuple[BackEndTiming, ...] = Field(min_length=1)
    """The first is the one that the artifact is made for."""
    tokenization: Tokenization | None = None
    calls_ms: tuple[float, ...]
    """The time of every call of the main point, in order, rounded to four digits."""

    @model_validator(mode="after")
    def _has_main_point(self) -> ModelTiming:
        if not self.back_ends[0].points:
            raise ValueError("its first back end has no points")
        return self

    @property
    def main(self) -> Point:
        """The point of the task's own sentences, one by one, in the back end that the artifact is made for."""
        return self.back_ends[0].points[0]


class Repeatability(JsonModel):
    """The repeatability of the phase: the teacher, loaded a second time, is timed as a further model."""

    ratio: float
    """The speed-up of the teacher over itself: 1 up to noise."""
    low: float
    high: float
    """The 95% interval of `ratio`."""
    split_half: float
    """The teacher's median over the second half of the rounds, which repeats the inputs of the first half, divided by
    its median over the first half, minus 1."""


class Timing(JsonModel):
    """The latency phase of one task on one machine."""

    schema_version: Literal[1] = 1
    task: str
    budget: str
    model: str
    threads: int
    """The same for every back end."""
    batch_size: int
    rounds: int
    """The minimum of calls of each model at the main point."""
    settings: dict[str, Any] = {}
    """The budget's settings for the phase."""
    method: Literal["alternating", "hot"] = "alternating"
    """``hot``: short calls directly follow one of the same model, with all weights in one shared memory;
    ``alternating``: calls follow another model's, with weights wherever they were loaded."""
    environment: Environment
    finished_at: Moment
    repeatability: Repeatability | None = None
    busy_share: float | None = None
    """The share of all cores' time that other processes used meanwhile; None where the system does not report it."""
    warning: str | None = None
    """Why the numbers are unreliable."""
    models: tuple[ModelTiming, ...]


_RUNTIMES = ("torch", "transformers", "onnxruntime")


def machine_of(environment: Environment) -> dict[str, str]:
    """Return what latencies must share to be compared: the hardware, and the versions of the runtimes."""
    return environment.hardware | runtimes_of(environment)


def runtimes_of(environment: Environment) -> dict[str, str]:
    """Return the versions of the libraries that run models."""
    return {name: environment.libraries[name] for name in _RUNTIMES if name in environment.libraries}


def put_timing(results: Path, timing: Timing) -> None:
    """Write `timing` to ``timings/`` of `results`, replacing an earlier one of the same task, budget and model."""
    name = f"{timing.task}-{timing.budget}-{timing.model}.json"
    write_atomically(_folder(results) / name, timing.model_dump_json() + "\n")


def load_timings(results: Path, within: Path | None = None) -> tuple[list[Timing], list[str]]:
    """Return all readable timings of the results folder `results`, and one line per file that is not a timing.

    A file that lies outside of `within`, if given, is not read.
    """
    return load_json_files(Timing, _folder(results), within)


def _folder(results: Path) -> Path:
    return results / "timings"
