"""Put together what the processes of a latency phase measured."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import Any

from pydantic import BaseModel

from kdbench.budgets import BackEnd, Budget
from kdbench.measure.energy import Drawn
from kdbench.measure.stopwatch import BusyMeter
from kdbench.measure.timing import ENERGY_BATCH, MAIN, Size, Timed
from kdbench.measure.timing_summary import (
    ByBackEnd,
    BySize,
    Calls,
    References,
    Teacher,
    best_back_ends,
    repeatability,
    repeatability_warning,
    summarize,
    throughput_of,
)
from kdbench.results.timings import BackEndTiming, Energy, ModelTiming, Point, Timing, Tokenization


def name_of(key: str, back_end: BackEnd) -> str:
    """Return the name of a model in a back end; a file may have it."""
    return f"{key}.{back_end}"


def key_of(name: str) -> str:
    """Return the model's key in a name by `name_of`."""
    return name.partition(".")[0]


def back_end_in(name: str) -> BackEnd:
    """Return the back end in a name by `name_of`."""
    return BackEnd(name.partition(".")[2])


class Prepared(BaseModel):
    """What is known before anything is timed; names are those of `name_of`."""

    graphs: dict[str, tuple[str, dict[str, Any]]]
    """The file and the configuration of each exported graph."""
    compiled: list[str]
    """What each process compiles itself."""
    reasons: dict[str, str]
    """Why a model does not run in a back end."""
    lost: dict[str, float]
    """The score that an artifact loses in a back end."""
    export_s: dict[str, float]
    """The seconds that an export took."""
    tokenizations: dict[str, Tokenization]
    """By the artifact's key."""


class CandidateCalls(BaseModel):
    """One model in one back end in one process."""

    back_end: BackEnd
    device: str
    emulated: str | None
    warm_up_calls: int
    warm: bool
    calls: list[tuple[Size, list[float]]]
    reasons: list[tuple[Size, str]]
    drawn: Drawn | None = None


class ProcessCalls(BaseModel):
    """What one process measured."""

    candidates: dict[str, CandidateCalls]
    """By name; the artifacts in the back end that each is made for come first."""
    busy_s: tuple[float, float]
    """Seconds of all cores that other processes used, and all there were."""
    energy_reason: str | None = None
    """Why there is no energy of a device."""

    @classmethod
    def of(
        cls,
        timed: Mapping[str, Timed],
        names: Mapping[str, tuple[BackEnd, str]],
        emulated: Mapping[str, str],
        meter: BusyMeter,
        energy_reason: str | None,
    ) -> ProcessCalls:
        """Return what was `timed`; `names` has the back end and the device of each."""
        return cls(
            candidates={
                name: CandidateCalls(
                    back_end=names[name][0],
                    device=names[name][1],
                    emulated=emulated.get(name),
                    warm_up_calls=one.warm_up.calls,
                    warm=one.warm_up.stable,
                    calls=list(one.calls_ms.items()),
                    reasons=list(one.reasons.items()),
                    drawn=one.drawn,
                )
                for name, one in timed.items()
            },
            busy_s=meter.seconds,
            energy_reason=energy_reason,
        )


def summarized(
    processes: Sequence[ProcessCalls],
    prepared: Prepared,
    *,
    keys: Sequence[str],
    teacher: str,
    again: str,
    inputs: int,
    budget: Budget,
    warning: str | None,
    **facts: Any,
) -> Timing:
    """Return the timing of a task from what its `processes` measured; `facts` are fields of `Timing`."""
    offered = {BackEnd.TORCH, *budget.latency_back_ends}
    found = _Found(processes, prepared, teacher, inputs, offered)
    noise = repeatability(found.calls(found.reference)[MAIN], found.calls(again)[MAIN], inputs)
    teachers = found.back_ends(teacher)
    warnings = [warning, repeatability_warning(noise)]
    return Timing(
        budget=budget.name,
        batch_size=1,
        rounds=budget.latency_rounds,
        settings=budget.latency_settings(),
        processes=budget.latency_processes,
        inputs=inputs,
        repeatability=noise,
        energy_reason=next((one.energy_reason for one in processes if one.energy_reason), None),
        warning="; ".join(filter(None, warnings)) or None,
        models=tuple(found.model(key, teachers) for key in keys),
        teacher=() if teacher in keys else teachers,
        **facts,
    )


def _energy(drawn: Sequence[Drawn], own: BySize) -> Energy | None:
    """Return the energy that each process has drawn; None where none has."""
    if not drawn:
        return None
    return Energy(
        source=drawn[0].source,
        batch_size=ENERGY_BATCH,
        threads=max(size.threads for size in own),
        joules=tuple(one.joules for one in drawn),
        seconds=tuple(one.seconds for one in drawn),
        examples=tuple(one.examples for one in drawn),
        idle_w=fmean(one.idle_w for one in drawn),
    )


def _order(point: Point) -> tuple[bool, int, int]:
    """Return the place of a point after the first: the grid from the fewest word pieces to the most, then the others."""
    return point.length is None, point.batch_size * (point.length or 1), point.batch_size


class _Found:
    """The calls of all processes, by name and size."""

    def __init__(
        self,
        processes: Sequence[ProcessCalls],
        prepared: Prepared,
        teacher: str,
        inputs: int,
        offered: Collection[BackEnd],
    ) -> None:
        self._processes = processes
        self._prepared = prepared
        self._teacher = teacher
        self._inputs = inputs
        self._offered = offered
        self._first = {
            name: one for process in reversed(processes) for name, one in process.candidates.items()
        }
        self._names = list(dict.fromkeys(name for process in processes for name in process.candidates))
        self._calls = {name: self._of_all_processes(name) for name in self._names}
        self.reference = next(name for name in self._names if key_of(name) == teacher)

    def calls(self, name: str) -> BySize:
        """Return the calls of a candidate by size, per process."""
        return self._calls[name]

    def _of_all_processes(self, name: str) -> dict[Size, Calls]:
        of_each = [
            dict(process.candidates[name].calls) if name in process.candidates else {}
            for process in self._processes
        ]
        sizes = dict.fromkeys(size for calls in of_each for size in calls)
        return {size: [calls.get(size, []) for calls in of_each] for size in sizes}

    def by_back_end(self, key: str) -> ByBackEnd:
        """Return the calls of a model in each of its back ends."""
        return {self._first[name].back_end: self._calls[name] for name in self._names if key_of(name) == key}

    def model(self, key: str, teachers: tuple[BackEndTiming, ...]) -> ModelTiming:
        """Return the timing of the artifact `key`; `teachers` are the teacher's."""
        timing = ModelTiming(
            key=key, back_ends=self.back_ends(key), tokenization=self._prepared.tokenizations.get(key)
        )
        teacher = Teacher(teachers, self.by_back_end(self._teacher), self._offered)
        best = best_back_ends(timing, self.by_back_end(key), teacher, self._inputs)
        return timing.model_copy(update={"best": best})

    def back_ends(self, key: str) -> tuple[BackEndTiming, ...]:
        """Return a model in each back end, that of the artifact first, and why it does not run in others."""
        ran = [self._back_end(name) for name in self._names if key_of(name) == key]
        absent = [
            BackEndTiming(back_end=back_end_in(name), device="cpu", reason=reason)
            for name, reason in self._prepared.reasons.items()
            if key_of(name) == key
        ]
        order = list(BackEnd)
        others = sorted([*ran[1:], *absent], key=lambda timing: order.index(timing.back_end))
        return (ran[0], *others)

    def _back_end(self, name: str) -> BackEndTiming:
        of_each = [process.candidates[name] for process in self._processes if name in process.candidates]
        back_end = of_each[0].back_end
        own, runtime = self._calls[name], self._calls.get(name_of(self._teacher, back_end.runtime))
        reasons = {size: reason for one in of_each for size, reason in one.reasons if size not in own}
        points = [
            summarize(calls, self._references(size, runtime), size, self._inputs if size == MAIN else 1)
            for size, calls in own.items()
        ]
        points += [
            Point(
                batch_size=size.batch_size, length=size.length, threads=size.threads, calls=0, reason=reason
            )
            for size, reason in reasons.items()
        ]
        points[1:] = sorted(points[1:], key=_order)
        return BackEndTiming(
            back_end=back_end,
            device=of_each[0].device,
            points=tuple(points),
            throughput=throughput_of(own, runtime, 1),
            warm_up_calls=max(one.warm_up_calls for one in of_each),
            warm=all(one.warm for one in of_each),
            score_lost=self._prepared.lost.get(name),
            export_s=self._prepared.export_s.get(name),
            energy=_energy([one.drawn for one in of_each if one.drawn is not None], own),
            emulated=of_each[0].emulated,
            reason=reasons.get(MAIN),
        )

    def _references(self, size: Size, runtime: BySize | None) -> References:
        eager = self._calls[self.reference].get(size, [[] for _ in self._processes])
        return References(None if runtime is None else runtime.get(size), eager)
