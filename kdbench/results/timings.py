"""What the latency phase of one task measured, and the folder that keeps it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from kdbench.budgets import BackEnd
from kdbench.results.records import Environment
from kdbench.utils.files import Part, load_json_files, write_atomically


class Point(Part):
    """Calls of one model with batches of one size; what was not measured is absent, and `reason` tells why."""

    batch_size: int
    length: int | None
    """Word pieces of every sentence, all attended to; None where the sentences are the task's own."""
    calls: int
    p50_ms: float | None = None
    p90_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    throughput_per_s: float | None = None
    """Sentences answered in a second of calls."""
    speedup: float | None = None
    """The median over rounds of the teacher's time in PyTorch divided by this model's."""
    speedup_low: float | None = None
    speedup_high: float | None = None
    """The 95% interval of `speedup`: a moving-block bootstrap over rounds."""
    reason: str | None = None
    """Why something is absent."""


class BackEndTiming(Part):
    """One model in one back end."""

    back_end: BackEnd
    device: str
    points: tuple[Point, ...] = ()
    """The task's own sentences one by one come first."""
    warm_up_calls: int = 0
    warm: bool = False
    """Whether the time of a call had become stable when warming up ended."""
    score_lost: float | None = None
    """By how much the artifact scores higher than it does here, on the same examples; None where that was not measured:
    in float32, which answers alike, and in the back end that the artifact is scored in."""
    reason: str | None = None
    """Why the model did not run here."""

    @property
    def unsteady_after(self) -> int | None:
        """The calls of warming up after which a call's time was not stable yet; None where it was, or nobody knows."""
        return self.warm_up_calls or None if not self.warm else None


class Tokenization(Part):
    """Turning one sentence into word pieces, by the artifact's own tokenizer."""

    calls: int
    p50_ms: float
    mean_ms: float


class ModelTiming(Part):
    """One artifact's latency, from rounds that it shared with every other of its task."""

    key: str
    """The cell that made the artifact."""
    back_ends: tuple[BackEndTiming, ...]
    """The one that the artifact is made for comes first."""
    tokenization: Tokenization | None = None
    calls_ms: tuple[float, ...]
    """Every call of the main point, in order, to four digits."""

    @property
    def main(self) -> Point:
        """The task's own sentences, one by one, in the back end that the artifact is made for."""
        return self.back_ends[0].points[0]

    @property
    def p50_ms(self) -> float | None:
        """The median of a call at the main point."""
        return self.main.p50_ms

    @property
    def p90_ms(self) -> float | None:
        """The time that nine of ten calls at the main point keep within."""
        return self.main.p90_ms

    @property
    def p95_ms(self) -> float | None:
        """The time that 95% of calls at the main point keep within."""
        return self.main.p95_ms

    @property
    def speedup(self) -> float | None:
        """How many times as fast as the teacher in PyTorch the artifact is at the main point."""
        return self.main.speedup

    @property
    def speedup_low(self) -> float | None:
        """The lower end of the 95% interval of `speedup`."""
        return self.main.speedup_low

    @property
    def speedup_high(self) -> float | None:
        """The upper end of the 95% interval of `speedup`."""
        return self.main.speedup_high


class Repeatability(Part):
    """How well the phase repeats itself: the teacher, loaded a second time, is timed as one more model."""

    ratio: float
    """The speed-up of the teacher over itself: 1 but for noise."""
    low: float
    high: float
    """The 95% interval of `ratio`."""
    split_half: float
    """The teacher's median over the second half of the rounds, which repeats the inputs of the first half, divided by
    its median over the first half, less 1."""


class Timing(Part):
    """The latency phase of one task on one machine."""

    schema_version: Literal[1] = 1
    task: str
    budget: str
    model: str
    threads: int
    """Of every back end alike."""
    batch_size: int
    rounds: int
    """Calls of each model at the main point, at least."""
    settings: dict[str, Any] = {}
    """The budget's settings of the phase."""
    method: Literal["alternating", "hot"] = "alternating"
    """``hot``: short calls come right after one of the same model, from one memory for all; else after another model's,
    from wherever its weights lie."""
    environment: Environment
    finished_at: datetime
    repeatability: Repeatability | None = None
    busy_share: float | None = None
    """The share of all cores' time that other processes took meanwhile; None where the system does not tell."""
    warning: str | None = None
    """Why the numbers are to be doubted."""
    models: tuple[ModelTiming, ...]


_RUNTIMES = ("torch", "transformers", "onnxruntime")


def machine_of(environment: Environment) -> dict[str, str]:
    """Return all that latencies follow from beside model and input: the hardware, and the versions of what runs models.

    Latencies compare only where it is the same.
    """
    return environment.hardware | runtimes_of(environment)


def runtimes_of(environment: Environment) -> dict[str, str]:
    """Return the versions of what runs models."""
    return {name: environment.libraries[name] for name in _RUNTIMES if name in environment.libraries}


def put_timing(results: Path, timing: Timing) -> None:
    """Write `timing` into ``timings/`` of `results`, in the place of an earlier one of the same task, budget and model."""
    write_atomically(
        _folder(results) / f"{timing.task}-{timing.budget}-{timing.model}.json",
        timing.model_dump_json() + "\n",
    )


def load_timings(results: Path) -> tuple[list[Timing], list[str]]:
    """Return every readable timing of the results folder `results`, and a line for each file that is none."""
    return load_json_files(Timing, _folder(results))


def _folder(results: Path) -> Path:
    return results / "timings"
