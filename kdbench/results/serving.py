"""Define what a model does when it serves requests: answers under load, the start of its process, and its memory."""

from __future__ import annotations

from collections.abc import Callable, Collection
from statistics import median

from pydantic import Field

from kdbench.budgets import BackEnd
from kdbench.results.fields import CellKey
from kdbench.utils.files import JsonModel


class Requests(JsonModel):
    """Requests that a model answered, from a text to its decoded answer; ``_low`` and ``_high`` bound 95% intervals.

    p50 and p95 are geometric means of the processes' own.
    """

    requests: int = Field(ge=0)
    p50_ms: float | None = None
    p50_low_ms: float | None = None
    p50_high_ms: float | None = None
    p95_ms: float | None = None
    p95_low_ms: float | None = None
    p95_high_ms: float | None = None
    p99_ms: float | None = None
    """Of all requests together, without an interval."""
    latencies_ms: tuple[tuple[float, ...], ...] = ()
    """Per process the latency of every request, rounded to four digits."""
    reason: str | None = None
    """Why a value is absent."""


class OpenLoop(Requests):
    """Requests that arrive at random at a given rate, whether or not earlier ones are answered.

    A latency runs from the scheduled arrival to the answer. Percentiles are absent where the rate is beyond the model's
    capacity: the queue would grow for as long as requests arrive.
    """

    rate_per_s: float = Field(gt=0)
    utilization: float = Field(ge=0)
    """The rate times the mean time of service: the share of the time that the model is busy; above 1 it cannot keep up."""
    is_beyond_capacity: bool = False
    services_ms: tuple[tuple[float, ...], ...] = ()
    """Per process the time of service of every request, without its wait in the queue."""


class ClosedLoop(Requests):
    """Requests of clients that each send the next one when the last is answered, each client in a thread of its own."""

    clients: int = Field(ge=1)
    per_s: float
    """Requests answered per second, by all clients together: the geometric mean over processes."""
    low_per_s: float | None = None
    high_per_s: float | None = None
    elapsed_s: tuple[float, ...] = ()
    """Per process the seconds that the requests took."""


class Start(JsonModel):
    """The start of one fresh process, and its memory: resident sets in bytes, None where the system does not tell."""

    python_s: float = Field(ge=0)
    """From the start of the process to the first line of its program."""
    imports_s: float = Field(ge=0)
    """Importing the libraries."""
    load_s: float = Field(ge=0)
    """Loading the model and its tokenizer."""
    answer_s: float = Field(ge=0)
    """The first request, from the text to the decoded answer."""
    loading_peak_bytes: int | None = None
    """The most, from the start of the process to the first answer."""
    rest_bytes: int | None = None
    """After the first answer."""
    batch_peak_bytes: int | None = None
    """The most while the largest batch is answered."""

    @property
    def total_s(self) -> float:
        """Seconds from the start of the process to the first answer."""
        return self.python_s + self.imports_s + self.load_s + self.answer_s


class ModelServing(JsonModel):
    """What one artifact does in its own back end when it serves requests."""

    key: CellKey
    back_end: BackEnd
    starts: tuple[Start, ...] = ()
    """One per process."""
    batch_size: int = Field(1, ge=1)
    """Texts of the largest batch."""
    batch_length: int = Field(1, ge=1)
    """Their word pieces."""
    open_loop: tuple[OpenLoop, ...] = ()
    closed_loop: tuple[ClosedLoop, ...] = ()
    reason: str | None = None
    """Why it served nothing."""

    @property
    def loops(self) -> tuple[OpenLoop | ClosedLoop, ...]:
        """All loops, those of arrivals first."""
        return (*self.open_loop, *self.closed_loop)

    @property
    def single(self) -> ClosedLoop | None:
        """Requests one by one, which is the closed loop with one client."""
        return next((loop for loop in self.closed_loop if loop.clients == 1), None)

    def median_start(self, figure: Callable[[Start], float | None]) -> float | None:
        """Return the median over the starts of a figure; None where some start does not have it."""
        values = [figure(start) for start in self.starts]
        return (
            None if None in values or not values else median(value for value in values if value is not None)
        )


class Serving(JsonModel):
    """How all models of a task serve the same requests; every model of a task is sent the same texts at the same times."""

    processes: int = Field(ge=1)
    """The fresh processes in which each model serves, one after the other."""
    capacity_per_s: float = Field(gt=0)
    """Requests per second that the teacher answers one by one, of which the rates are shares."""
    cores: int = Field(ge=1)
    busy_share: float | None = None
    """The share of all cores' time that other processes used meanwhile; None where the system does not report it."""
    warning: str | None = None
    """Why the numbers are unreliable."""
    models: tuple[ModelServing, ...]

    @property
    def requests(self) -> int:
        """The requests that all models together served."""
        loops = (loop for model in self.models for loop in model.loops)
        return sum(len(latencies) for loop in loops for latencies in loop.latencies_ms)

    def only(self, keys: Collection[str]) -> Serving:
        """Return what those models of `keys` do that served."""
        return self.model_copy(update={"models": tuple(model for model in self.models if model.key in keys)})

    def of(self, key: str) -> ModelServing | None:
        """Return what the artifact `key` does; None where it did not serve."""
        return next((model for model in self.models if model.key == key), None)
