"""Time calls with the clock of their device: warm-up, rounds, tokenizers, and the load by other processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import psutil
import torch
from transformers import PreTrainedTokenizerBase

from kdbench.results.timings import Tokenization
from kdbench.utils.system import Report, axis_seed

Stopwatch = Callable[[Callable[[], object]], float]
"""Makes one call and returns its duration in milliseconds."""


def stopwatch_for(device: torch.device) -> Stopwatch:
    """Return a stopwatch for calls on `device`, from an empty queue to finished work, without copies to or from it."""
    if device.type == "cuda":
        return cuda_events(device)
    if device.type == "mps":
        return wall_clock(wait=torch.mps.synchronize)
    return wall_clock()


def wall_clock(
    clock: Callable[[], float] = time.perf_counter, wait: Callable[[], object] = lambda: None
) -> Stopwatch:
    """Return a stopwatch with a `clock` in seconds; `wait` returns when the device has finished its work."""

    def measure(call: Callable[[], object]) -> float:
        wait()
        started = clock()
        call()
        wait()
        return (clock() - started) * 1000

    return measure


def cuda_events(device: torch.device) -> Stopwatch:
    """Return a stopwatch with two events in the stream of a CUDA `device`, which uses the device's own clock.

    It synchronizes before the call, so that the first event is reached at once and the time of launching kernels counts,
    which at batch 1 exceeds that of running them.
    """

    def measure(call: Callable[[], object]) -> float:
        with torch.cuda.device(device):
            first = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            last = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            torch.cuda.synchronize(device)
            first.record()
            call()
            last.record()
            last.synchronize()
            return float(first.elapsed_time(last))

    return measure


WINDOW = 10
"""The number of calls whose median is compared with that of as many calls before them."""
TOLERANCE = 0.02
MAX_WARM_UP_CALLS = 60


@dataclass(frozen=True)
class WarmUp:
    """The result of a warm-up."""

    calls: int
    stable: bool


def warm_up(call: Callable[[], float]) -> WarmUp:
    """Repeat `call`, always with the same input, until its time is stable, at most `MAX_WARM_UP_CALLS` times.

    The first calls also allocate memory, choose kernels by the input's shape, and wake up an idle processor.
    """
    taken_ms: list[float] = []
    while len(taken_ms) < MAX_WARM_UP_CALLS:
        taken_ms.append(call())
        if is_stable(taken_ms):
            return WarmUp(len(taken_ms), stable=True)
    return WarmUp(MAX_WARM_UP_CALLS, stable=False)


def is_stable(taken_ms: Sequence[float]) -> bool:
    """Return whether the medians of the last two windows of `WINDOW` calls differ by less than the share `TOLERANCE`."""
    if len(taken_ms) < 2 * WINDOW:
        return False
    before, last = median(taken_ms[-2 * WINDOW : -WINDOW]), median(taken_ms[-WINDOW:])
    return abs(last - before) < TOLERANCE * before


MAX_REPEATS = 10
"""Short calls are repeated until they fill the requested seconds, up to this factor times the requested calls."""

Turn = Callable[[range], list[float]]
"""Answers the inputs with these numbers one after the other, and returns the milliseconds of each."""


def time_rounds(
    turns: Mapping[str, Turn],
    *,
    calls: int,
    report: Report,
    calls_per_turn: int = 1,
    phase: str = "timing",
    seconds: float = 0,
    reference: str | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Time all `turns` in rounds; return the milliseconds of each, ``(its calls,)``, in the order of the rounds.

    In a round each turn answers the same `calls_per_turn` inputs, in shuffled order, so that a temporary slowdown of
    the machine affects all of them and ratios within a round stay valid. A turn drops out once it has made `calls` and
    filled `seconds` with them, or made `MAX_REPEATS` times as many; `reference` stays as long as any other does. `seed` is
    that of the order.
    """
    order = np.random.default_rng(axis_seed(seed, "latency"))
    taken_ms: dict[str, list[float]] = {name: [] for name in turns}
    spent_ms = dict.fromkeys(turns, 0.0)
    number = 0
    active = list(turns)
    while active:
        names = active if reference is None or reference in active else [*active, reference]
        left = calls - number if number < calls else MAX_REPEATS * calls - number
        numbers = range(number, number + min(calls_per_turn, left))
        for place in order.permutation(len(names)):
            name = names[place]
            ms = turns[name](numbers)
            taken_ms[name] += ms
            spent_ms[name] += sum(ms)
        number = numbers.stop
        report(phase, min(number, calls), calls, None)
        if number >= MAX_REPEATS * calls:
            break
        if number >= calls:
            active = [name for name in active if spent_ms[name] < 1000 * seconds]
    return {name: np.array(ms) for name, ms in taken_ms.items()}


def time_tokenizers(
    tokenizers: Mapping[str, PreTrainedTokenizerBase],
    texts: Sequence[Sequence[str]],
    *,
    max_length: int,
    rounds: int,
    report: Report,
    stopwatch: Stopwatch | None = None,
) -> dict[str, Tokenization]:
    """Return the time of each of `tokenizers` per sentence, from Python text to ids.

    They are timed in shuffled rounds like models, on the text or the two texts of each sentence, truncated to
    `max_length` word pieces; by default with the wall clock, since tokenizers run on the CPU.
    """
    stopwatch = stopwatch or wall_clock()
    for tokenizer in tokenizers.values():
        tokenizer(*texts[0], truncation=True, max_length=max_length)  # sets truncation, which takes time once
    turns = {name: _turn(tokenizer, texts, max_length, stopwatch) for name, tokenizer in tokenizers.items()}
    taken = time_rounds(turns, calls=rounds, report=report, phase="timing tokenizers")
    return {
        name: Tokenization(calls=len(ms), p50_ms=float(np.median(ms)), mean_ms=float(ms.mean()))
        for name, ms in taken.items()
    }


def texts_of(example: Mapping[str, Any]) -> tuple[str, ...]:
    """Return an example's text or texts; words are joined by blanks to a sentence."""
    if "words" in example:
        return (" ".join(example["words"]),)
    return tuple(example[name] for name in ("text", "text_pair") if name in example)


def _turn(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[Sequence[str]], max_length: int, stopwatch: Stopwatch
) -> Turn:
    def call(number: int) -> float:
        return stopwatch(
            lambda: tokenizer(*texts[number % len(texts)], truncation=True, max_length=max_length)
        )

    return lambda numbers: [call(number) for number in numbers]


THRESHOLD = 0.1
"""The share of all cores' time above which other processes may have slowed the measurement."""


@dataclass(frozen=True)
class Usage:
    """Processor times at one moment, in seconds."""

    busy_s: float
    """Of all cores and processes, including time that a hypervisor gave to other machines."""
    idle_s: float
    own_s: float
    """Processor time of this process."""


def usage(*, with_children: bool = False) -> Usage:
    """Return the current counters; `with_children` adds processes that this one has waited for to its own time."""
    machine = psutil.cpu_times()._asdict()
    idle = machine["idle"] + machine.get("iowait", 0.0)
    # Linux includes the time of guests in that of users.
    twice = idle + machine.get("guest", 0.0) + machine.get("guest_nice", 0.0)
    own = psutil.Process().cpu_times()
    children_s = own.children_user + own.children_system if with_children else 0.0
    return Usage(sum(machine.values()) - twice, idle, own.user + own.system + children_s)


class BusyMeter:
    """Adds up the processor time of other processes during its ``with`` blocks."""

    def __init__(self, counters: Callable[[], Usage] = usage) -> None:
        self._counters = counters
        self._others_s = 0.0
        self._all_s = 0.0

    @property
    def share(self) -> float | None:
        """The share of all cores' time that other processes used; None where the system's counters do not advance."""
        return min(1.0, max(0.0, self._others_s / self._all_s)) if self._all_s > 0 else None

    @property
    def seconds(self) -> tuple[float, float]:
        """The seconds of all cores that other processes used, and those of all cores together."""
        return min(self._all_s, max(0.0, self._others_s)), self._all_s

    def __enter__(self) -> None:
        self._before = self._counters()

    def __exit__(self, *error: object) -> None:
        before, after = self._before, self._counters()
        busy_s = after.busy_s - before.busy_s
        self._all_s += busy_s + after.idle_s - before.idle_s
        self._others_s += busy_s - (after.own_s - before.own_s)


def busy_warning(
    share: float | None,
    during: str = "models were timed",
    so: str = "speed-ups come from paired calls and are more reliable than milliseconds",
) -> str | None:
    """Return a warning where other processes kept the machine busy `during` a measurement, else None."""
    if share is None or share <= THRESHOLD:
        return None
    return f"the machine was busy: other processes used {share:.0%} of its cores' time while {during}; {so}"
