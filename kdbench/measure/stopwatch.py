"""How long one call takes, by the clock that fits the device."""

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
"""Makes one call and returns its milliseconds."""


def stopwatch_for(device: torch.device) -> Stopwatch:
    """Return what times a call on `device`, from empty queue to finished work; copies to and from it not counted."""
    if device.type == "cuda":
        return cuda_events(device)
    if device.type == "mps":
        return wall_clock(wait=torch.mps.synchronize)
    return wall_clock()


def wall_clock(
    clock: Callable[[], float] = time.perf_counter, wait: Callable[[], object] = lambda: None
) -> Stopwatch:
    """Return what times a call by a `clock` of seconds; `wait` returns when the device has done all it was given."""

    def measure(call: Callable[[], object]) -> float:
        wait()
        started = clock()
        call()
        wait()
        return (clock() - started) * 1000

    return measure


def cuda_events(device: torch.device) -> Stopwatch:
    """Return what times a call by two events in the stream of a CUDA `device`: on the device's own clock.

    The device is waited for before the call, so that the first event is reached at once and launching the kernels, which
    at batch 1 takes longer than running them, counts.
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
"""Calls whose median is held against that of as many before them."""
TOLERANCE = 0.02
AT_MOST = 60


@dataclass(frozen=True)
class WarmUp:
    """How warming up ended."""

    calls: int
    stable: bool


def warm_up(call: Callable[[], float]) -> WarmUp:
    """Make `call`, always with the same input, until its time is stable, but `AT_MOST` times.

    First calls pay for memory, for kernels that are chosen by the input's shape, and for a processor that was idle.
    """
    taken_ms: list[float] = []
    while len(taken_ms) < AT_MOST:
        taken_ms.append(call())
        if is_stable(taken_ms):
            return WarmUp(len(taken_ms), stable=True)
    return WarmUp(AT_MOST, stable=False)


def is_stable(taken_ms: Sequence[float]) -> bool:
    """Return whether the medians of the last `WINDOW` calls and of those before differ by less than `TOLERANCE`."""
    if len(taken_ms) < 2 * WINDOW:
        return False
    before, last = median(taken_ms[-2 * WINDOW : -WINDOW]), median(taken_ms[-WINDOW:])
    return abs(last - before) < TOLERANCE * before


MOST = 10
"""Times the calls asked for: so short calls are repeated until they fill the seconds asked for."""

Turn = Callable[[range], list[float]]
"""Answers the inputs of these numbers, one after the other, and returns the milliseconds that each took."""


def time_rounds(
    turns: Mapping[str, Turn],
    *,
    calls: int,
    report: Report,
    calls_a_turn: int = 1,
    phase: str = "timing",
    seconds: float = 0,
    reference: str | None = None,
) -> dict[str, np.ndarray]:
    """Return for each of `turns` its milliseconds, ``(its calls,)``, from the first round on.

    In a round each answers the same inputs, `calls_a_turn` of them, in shuffled order, so that what slows the machine
    for a while slows all of them, and ratios within a round hold. Who has made `calls` and filled `seconds` with them,
    or made `MOST` times as many calls, takes no further part; `reference` does as long as anybody else does.
    """
    order = np.random.default_rng(axis_seed(0, "latency"))
    taken_ms: dict[str, list[float]] = {name: [] for name in turns}
    spent_ms = dict.fromkeys(turns, 0.0)
    number = 0
    playing = list(turns)
    while playing:
        named = playing if reference is None or reference in playing else [*playing, reference]
        left = calls - number if number < calls else MOST * calls - number
        numbers = range(number, number + min(calls_a_turn, left))
        for place in order.permutation(len(named)):
            name = named[place]
            ms = turns[name](numbers)
            taken_ms[name] += ms
            spent_ms[name] += sum(ms)
        number = numbers.stop
        report(phase, min(number, calls), calls, None)
        if number >= MOST * calls:
            break
        if number >= calls:
            playing = [name for name in playing if spent_ms[name] < 1000 * seconds]
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
    """Return for each of `tokenizers` what one sentence takes, from Python text to ids.

    Args:
        tokenizers: what is timed, by name, in shuffled rounds as models are.
        texts: of each sentence its text, or its two texts.
        max_length: word pieces kept of a text.
        rounds: calls of each.
        report: how far it is.
        stopwatch: what times a call; by default the wall clock, since tokenizers run on the CPU.
    """
    stopwatch = stopwatch or wall_clock()
    for tokenizer in tokenizers.values():
        tokenizer(*texts[0], truncation=True, max_length=max_length)  # sets truncation, which costs once
    turns = {name: _turn(tokenizer, texts, max_length, stopwatch) for name, tokenizer in tokenizers.items()}
    taken = time_rounds(turns, calls=rounds, report=report, phase="timing tokenizers")
    return {
        name: Tokenization(calls=len(ms), p50_ms=float(np.median(ms)), mean_ms=float(ms.mean()))
        for name, ms in taken.items()
    }


def texts_of(example: Mapping[str, Any]) -> tuple[str, ...]:
    """Return an example's text or texts; of words, the sentence that they make with blanks in between."""
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
"""Of all cores' time: above it other processes may have slowed what was measured."""


@dataclass(frozen=True)
class Usage:
    """Counters at one moment, in seconds."""

    busy_s: float
    """Of all cores together, by anybody: time that a hypervisor gave to other machines counts, too."""
    idle_s: float
    own_s: float
    """Processor time of this process."""


def usage() -> Usage:
    """Return the counters now."""
    machine = psutil.cpu_times()._asdict()
    idle = machine["idle"] + machine.get("iowait", 0.0)
    # Linux counts a guest's time in user's, too.
    twice = idle + machine.get("guest", 0.0) + machine.get("guest_nice", 0.0)
    own = psutil.Process().cpu_times()
    return Usage(sum(machine.values()) - twice, idle, own.user + own.system)


class BusyMeter:
    """Adds up what others took while its ``with`` blocks ran."""

    def __init__(self, counters: Callable[[], Usage] = usage) -> None:
        self._counters = counters
        self._others_s = 0.0
        self._all_s = 0.0

    @property
    def share(self) -> float | None:
        """The share of all cores' time that others took; None where the system's counters stand still."""
        return min(1.0, max(0.0, self._others_s / self._all_s)) if self._all_s > 0 else None

    def __enter__(self) -> None:
        self._before = self._counters()

    def __exit__(self, *error: object) -> None:
        before, after = self._before, self._counters()
        busy_s = after.busy_s - before.busy_s
        self._all_s += busy_s + after.idle_s - before.idle_s
        self._others_s += busy_s - (after.own_s - before.own_s)


def busy_warning(share: float | None) -> str | None:
    """Return what a reader must know of a machine that was busy, or None."""
    if share is None or share <= THRESHOLD:
        return None
    return (
        f"the machine was busy: other processes took {share:.0%} of its cores' time while models were timed; speed-ups "
        "are of pairs and hold better than milliseconds do"
    )
