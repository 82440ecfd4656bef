"""Define the timing of a task, the result of its latency phase, and read and write timings."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from kdbench.budgets import BackEnd
from kdbench.results.fields import CellKey, Moment
from kdbench.results.records import Environment
from kdbench.results.serving import Serving
from kdbench.utils.files import JsonModel, load_json_files, write_atomically


class Speed(str, Enum):
    """What a model is fast at."""

    SINGLE = "single"
    """Calls of one sentence: the median time."""
    THROUGHPUT = "throughput"
    """Batches of real sentences, padded to the longest, on all cores: sentences per second."""
    P95 = "p95"
    """Calls of one sentence: the time that 95% of them do not exceed."""

    __str__ = str.__str__


class Point(JsonModel):
    """Calls of one model with batches of one size; values that were not measured are absent, and `reason` says why.

    Every ``_low`` and ``_high`` bounds a 95% interval over processes, inputs and calls.
    """

    batch_size: int = Field(ge=1)
    length: int | None = None
    """Word pieces of every sentence, without padding; None where the sentences are the task's own, padded to the
    longest of the batch."""
    threads: int = Field(1, ge=1)
    calls: int
    p50_ms: float | None = None
    p50_low_ms: float | None = None
    p50_high_ms: float | None = None
    p90_ms: float | None = None
    p95_ms: float | None = None
    p95_low_ms: float | None = None
    p95_high_ms: float | None = None
    p99_ms: float | None = None
    throughput_per_s: float | None = None
    """Sentences answered per second of calls."""
    throughput_low_per_s: float | None = None
    throughput_high_per_s: float | None = None
    speedup: float | None = None
    """The median over rounds of the time that the teacher takes in the same runtime, in float32, divided by this
    model's."""
    speedup_low: float | None = None
    speedup_high: float | None = None
    p95_speedup: float | None = None
    """The teacher's p95 in the same runtime divided by this model's."""
    p95_speedup_low: float | None = None
    p95_speedup_high: float | None = None
    eager_speedup: float | None = None
    """As `speedup`, over the teacher in PyTorch's eager mode: the reference that all models and back ends share."""
    eager_speedup_low: float | None = None
    eager_speedup_high: float | None = None
    calls_ms: tuple[tuple[float, ...], ...] = ()
    """Per process the time of every call, in order, rounded to four digits. The calls of two models with the same
    numbers were made in one round, with the same input."""
    reason: str | None = None
    """Why a value is absent."""


class Throughput(JsonModel):
    """A model with batches of the size that gives the most sentences per second, on all cores."""

    batch_size: int = Field(ge=1)
    per_s: float
    low_per_s: float | None = None
    high_per_s: float | None = None
    speedup: float | None = None
    """Over the teacher in the same runtime, with batches of its own best size."""
    speedup_low: float | None = None
    speedup_high: float | None = None


class Energy(JsonModel):
    """What a hardware counter advanced by while a model answered batches of the task's own sentences, per process.

    It is that of the whole processor package, or GPU; the power without work is not subtracted.
    """

    source: str
    """``RAPL``: all processor packages; ``NVML``: the GPU alone."""
    batch_size: int = Field(ge=1)
    threads: int = Field(ge=1)
    joules: tuple[NonNegativeFloat, ...] = Field(min_length=1)
    seconds: tuple[PositiveFloat, ...] = Field(min_length=1)
    examples: tuple[PositiveInt, ...] = Field(min_length=1)
    idle_w: float = Field(ge=0)
    """The mean power of the same counter with the models loaded and nothing running."""

    @property
    def joules_per_1000(self) -> float:
        """The joules for 1,000 examples, over all processes."""
        return 1000 * sum(self.joules) / sum(self.examples)


class BackEndTiming(JsonModel):
    """One model in one back end."""

    back_end: BackEnd
    device: str
    points: tuple[Point, ...] = ()
    """The first is that of the task's own sentences, one by one; then come the grid and the batches on all cores."""
    throughput: Throughput | None = None
    warm_up_calls: int = 0
    """The most of any process."""
    warm: bool = False
    """Whether the time per call was stable when the warm-up ended, in all processes."""
    score_lost: float | None = None
    """How much higher the artifact itself scores than in this back end, on the same examples; None where that was not
    measured: in float32, which gives the same answers, and in the back end that the artifact is scored in."""
    export_s: float | None = None
    """Seconds to export the artifact to it; None for the artifact itself."""
    energy: Energy | None = None
    """None where it was not measured; `Timing.energy_reason` says why."""
    emulated: str | None = None
    """The precision that the processor has no instructions for, so that it computes in another one."""
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


class Best(JsonModel):
    """The back end in which a model is fastest, of those that give the artifact's own answers."""

    speed: Speed
    back_end: BackEnd
    value: float
    """Milliseconds, or sentences per second."""
    low: float | None = None
    high: float | None = None
    speedup: float | None = None
    """Over the teacher in the back end in which it is fastest, of those in which all models are timed and this model's
    runtime."""
    speedup_low: float | None = None
    speedup_high: float | None = None
    eager_speedup: float | None = None
    """Over the teacher in PyTorch's eager mode: the reference that all models share."""
    eager_speedup_low: float | None = None
    eager_speedup_high: float | None = None


class ModelTiming(JsonModel):
    """One artifact's latency, from rounds shared with all other artifacts of its task."""

    key: CellKey
    """The key of the cell that produced the artifact."""
    back_ends: tuple[BackEndTiming, ...] = Field(min_length=1)
    """The first is the one that the artifact is made for."""
    tokenization: Tokenization | None = None
    best: tuple[Best, ...] = ()

    @model_validator(mode="after")
    def _has_main_point(self) -> ModelTiming:
        if not self.back_ends[0].points:
            raise ValueError("its first back end has no points")
        return self

    @property
    def main(self) -> Point:
        """The point of the task's own sentences, one by one, in the back end that the artifact is made for."""
        return self.back_ends[0].points[0]

    def best_at(self, speed: Speed) -> Best | None:
        """Return the back end in which it is fastest; None where that was not measured."""
        return next((best for best in self.best if best.speed is speed), None)


class Repeatability(JsonModel):
    """The repeatability of the phase: the teacher, loaded a second time, is timed as a further model."""

    ratio: float
    """The speed-up of the teacher over itself: 1 up to noise."""
    low: float | None
    high: float | None
    """The 95% interval of `ratio`."""
    split_half: float
    """The teacher's median over the second half of each process's rounds, which repeats the inputs of the first half,
    divided by its median over the first half, minus 1."""


class Timing(JsonModel):
    """The latency phase of one task on one machine."""

    outdated: ClassVar[str | None] = (
        "a timing of an earlier schema, whose speed-ups divide by two timings of the teacher and have no interval over"
        " processes; 'kdbench run' times the models again"
    )
    schema_version: Literal[2] = 2
    task: str
    budget: str
    model: str
    threads: int
    """The same for every back end."""
    batch_size: int
    rounds: int
    """The minimum of calls of each model at the main point."""
    processes: int = Field(1, ge=1)
    """The fresh processes among which the calls are divided."""
    inputs: int = Field(1, ge=1)
    """How many sentences take turns in a process: call i of the main point answers sentence i modulo `inputs`."""
    settings: dict[str, Any] = {}
    """The budget's settings for the phase."""
    environment: Environment
    finished_at: Moment
    repeatability: Repeatability | None = None
    busy_share: float | None = None
    """The share of all cores' time that other processes used meanwhile; None where the system does not report it."""
    energy_reason: str | None = None
    """Why no energy was measured; None in timings of versions that did not measure it."""
    warning: str | None = None
    """Why the numbers are unreliable."""
    models: tuple[ModelTiming, ...]
    teacher: tuple[BackEndTiming, ...] = ()
    """The teacher's times, where it is none of `models`."""
    serving: Serving | None = None
    """How the models serve requests; None where that was not measured."""

    def machine(self, environment: Environment | None = None) -> dict[str, str]:
        """Return what latencies must share to be compared: the hardware, and the versions of the runtimes.

        With an `environment`, what these models timed again would have there.
        """
        environment = environment or self.environment
        return environment.hardware | self.runtimes(environment)

    def runtimes(self, environment: Environment | None = None) -> dict[str, str]:
        """Return the versions of the libraries that run the models, in an `environment` or in that of the timing."""
        libraries = (environment or self.environment).libraries
        back_ends = {part.back_end for model in self.models for part in model.back_ends}
        names = [*_RUNTIMES, *(["openvino"] if BackEnd.OPENVINO in back_ends else [])]
        return {name: libraries[name] for name in names if name in libraries}


_RUNTIMES = ("torch", "transformers", "onnxruntime")


def put_timing(results: Path, timing: Timing) -> None:
    """Write `timing` to ``timings/`` of `results`, replacing an earlier one of the same task, budget and model."""
    path = timing_path(results, timing.task, timing.budget, timing.model)
    write_atomically(path, timing.model_dump_json(exclude_none=True) + "\n")


def timing_path(results: Path, task: str, budget: str, model: str) -> Path:
    """Return the file of the timing of `task`."""
    return results / "timings" / f"{task}-{budget}-{model}.json"


def load_timings(results: Path, within: Path | None = None) -> tuple[list[Timing], list[str]]:
    """Return all readable timings of the results folder `results`, and one line per file that is not a timing.

    A file that lies outside of `within`, if given, is not read.
    """
    return load_json_files(Timing, results / "timings", within)
