"""Time models together in the same rounds: warm up, then the task's own sentences, then a grid of batches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from kdbench.api.bench import Batch
from kdbench.budgets import BackEnd, Budget
from kdbench.errors import described
from kdbench.measure.stopwatch import Stopwatch, Turn, WarmUp, time_rounds, warm_up
from kdbench.measure.timing_summary import summarize
from kdbench.results.timings import BackEndTiming, Point
from kdbench.utils.system import Report, axis_seed

BATCH_SIZES = (1, 8, 32)
LENGTHS = (16, 32, 64, 128)
GRID = tuple(
    sorted(
        ((size, length) for size in BATCH_SIZES for length in LENGTHS), key=lambda point: point[0] * point[1]
    )
)
"""Batch size and length of each point, from the fewest word pieces to the most."""


def vocabulary(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids of all word pieces except special tokens."""
    return sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids))


def synthetic_batch(ids: Sequence[int], inputs: Iterable[str], batch_size: int, length: int) -> Batch:
    """Return a model's `inputs` by name, each int64 ``(batch_size, length)``: pieces drawn from `ids`, without padding."""
    draw = np.random.default_rng(axis_seed(batch_size * 1000 + length, "latency grid"))
    drawn = torch.from_numpy(draw.choice(np.asarray(ids, dtype=np.int64), (batch_size, length)))
    values = {"input_ids": drawn, "attention_mask": torch.ones_like(drawn)}
    return {name: values.get(name, torch.zeros_like(drawn)) for name in inputs}


_ALIGNMENT = 64
"""Bytes of a line of the processor's caches."""


@contextmanager
def shared_memory(models: Iterable[nn.Module]) -> Iterator[Sequence[Callable[[], None]]]:
    """Run `models`, which are on the CPU, from one shared memory in the block; yield the functions that load each there.

    Where weights happen to lie changes the time of a call, by a tenth and more among equal models: in the system's file
    cache, whose pages a loaded model shares, or in the memory that a virtual machine was given. In a shared memory
    conditions are the same for all. In the block a model is valid from loading its weights until another's are loaded.
    """
    relocated = [_Relocated(model) for model in models]
    memory = torch.empty(max([0, *(len(model.weights) for model in relocated)]), dtype=torch.uint8)
    for model in relocated:
        model.run_from(memory)
    try:
        yield [model.load_weights for model in relocated]
    finally:
        for model in relocated:
            model.run_from(model.weights)


class _Relocated:
    """A model with a contiguous copy of its weights, which can be copied elsewhere at once."""

    def __init__(self, model: nn.Module) -> None:
        self._places: list[tuple[nn.Parameter, slice]] = []
        end = 0
        for parameter in model.parameters():  # a shared parameter comes once
            self._places.append((parameter, slice(end, end + parameter.nbytes)))
            end += -(-parameter.nbytes // _ALIGNMENT) * _ALIGNMENT
        self.weights = torch.empty(end, dtype=torch.uint8)
        self._memory = self.weights
        for parameter, place in self._places:
            self.weights[place] = parameter.detach().contiguous().view(-1).view(torch.uint8)

    def run_from(self, memory: Tensor) -> None:
        """Make the model read its weights from `memory`."""
        self._memory = memory
        for parameter, place in self._places:
            parameter.data = memory[place].view(parameter.dtype).view(parameter.shape)

    def load_weights(self) -> None:
        """Copy the weights to where the model reads them."""
        self._memory[: len(self.weights)].copy_(self.weights)


CALLS_PER_TURN = 3
"""With the task's own sentences; loading the weights takes as long as one or two calls."""
HOT_UP_TO = 256
"""The most word pieces of a batch that is timed hot; in larger ones, fetching the weights is a small part of a call."""


@dataclass(frozen=True)
class Candidate:
    """A model with everything needed to time it."""

    model: nn.Module
    back_end: BackEnd
    device: torch.device
    inputs: Sequence[Batch]
    """The task's own sentences, one by one."""
    vocabulary: Sequence[int]
    longest: int | None
    """The word pieces that the model can read; None if unlimited."""
    stopwatch: Stopwatch
    load_weights: Callable[[], None] = lambda: None
    """Copies the model's weights to where it runs from: see `shared_memory`."""

    def own(self, numbers: range) -> list[float]:
        """Answer the task's own sentences with these numbers; return the milliseconds of each."""
        return self.turn([self.inputs[number % len(self.inputs)] for number in numbers])

    def turn(self, batches: Sequence[Batch]) -> list[float]:
        """Answer `batches`; return the milliseconds of each.

        The models that ran before have filled the processor's caches with their own weights. So a short call follows
        one that does not count, as in a model that serves one request after the other.
        """
        self.load_weights()
        if batches[0]["input_ids"].numel() <= HOT_UP_TO:
            self.model(**batches[0])
        return [self._timed(batch) for batch in batches]

    def warm_up(self) -> WarmUp:
        """Answer the longest sentence, which may be too long, and warm up on the one of median length."""
        order = np.argsort([batch["input_ids"].shape[1] for batch in self.inputs], kind="stable")
        typical = self.inputs[int(order[len(order) // 2])]
        self.load_weights()
        self.model(**self.inputs[int(order[-1])])
        return warm_up(lambda: self._timed(typical))

    def _timed(self, batch: Batch) -> float:
        return self.stopwatch(lambda: self.model(**batch))

    def synthetic(self, batch_size: int, length: int) -> Batch:
        """Return a batch of the grid."""
        batch = synthetic_batch(self.vocabulary, self.inputs[0], batch_size, length)
        return {name: value.to(self.device) for name, value in batch.items()}


@dataclass
class Measured:
    """The measurements of one candidate."""

    calls_ms: np.ndarray
    """With the task's own sentences, in the order of the rounds."""
    timing: BackEndTiming


def _untimed(candidate: Candidate, reason: str) -> Measured:
    """Return that `candidate` has no times, for `reason`."""
    point = Point(batch_size=1, length=None, calls=0, reason=reason)
    timing = BackEndTiming(
        back_end=candidate.back_end, device=candidate.device.type, points=(point,), reason=reason
    )
    return Measured(np.zeros(0), timing)


@torch.inference_mode()
def time_together(
    candidates: Mapping[str, Candidate],
    *,
    reference: str,
    budget: Budget,
    gridded: Collection[str],
    report: Report,
) -> dict[str, Measured]:
    """Time all `candidates` together, as often as `budget` says; speed-ups are relative to the one called `reference`.

    Those called `gridded` are timed on the grid as well, and the reference with them.
    """
    with _in_shared_memory(candidates) as candidates:
        warm, failed = {}, {}
        for number, (name, candidate) in enumerate(candidates.items()):
            try:
                warm[name] = candidate.warm_up()
            except Exception as error:  # costs the others nothing, unless they are compared with it
                if name == reference:
                    raise
                failed[name] = _untimed(candidate, f"the model does not answer: {described(error)}")
            report("warming up", number + 1, len(candidates), None)
        candidates = {name: candidate for name, candidate in candidates.items() if name in warm}
        calls = time_rounds(
            {name: candidate.own for name, candidate in candidates.items()},
            calls=budget.latency_rounds,
            calls_per_turn=CALLS_PER_TURN,
            seconds=budget.latency_seconds,
            reference=reference,
            report=report,
        )
        grid = _Grid(
            {name: candidate for name, candidate in candidates.items() if name in {reference, *gridded}},
            reference,
            budget,
            report,
        )
        points = grid.measure() if gridded else {}
        return failed | {
            name: Measured(
                calls[name],
                BackEndTiming(
                    back_end=candidate.back_end,
                    device=candidate.device.type,
                    points=(
                        summarize(calls[name], calls[reference], batch_size=1, length=None),
                        *points.get(name, ()),
                    ),
                    warm_up_calls=warm[name].calls,
                    warm=warm[name].stable,
                ),
            )
            for name, candidate in candidates.items()
        }


@dataclass
class _Grid:
    """Times candidates on the grid of batch sizes and lengths, as far as the budget's seconds suffice."""

    candidates: Mapping[str, Candidate]
    reference: str
    budget: Budget
    report: Report
    left_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.left_s = self.budget.latency_grid_seconds * len(self.candidates)

    def measure(self) -> dict[str, list[Point]]:
        """Return the points of each candidate, from the fewest word pieces to the most."""
        points: dict[str, list[Point]] = {name: [] for name in self.candidates}
        for batch_size, length in GRID:
            for name, point in self._points(batch_size, length).items():
                points[name].append(point)
        return points

    def _points(self, batch_size: int, length: int) -> dict[str, Point]:
        """Time each candidate at this size; the first call of each is a warm-up, which does not count."""
        size = {"batch_size": batch_size, "length": length}
        calls: dict[str, Turn] = {}
        reasons: dict[str, str] = {}
        first_ms = 0.0
        for name, candidate in self.candidates.items():
            if candidate.longest is not None and length > candidate.longest:
                reasons[name] = f"the model reads {candidate.longest} word pieces at most"
                continue
            batch = candidate.synthetic(batch_size, length)
            try:
                first_ms += candidate.turn([batch])[0]
            except Exception as error:
                reasons[name] = f"the model does not answer such a batch: {described(error)}"
                continue
            calls[name] = _repeated(candidate, batch)
        self.left_s -= first_ms / 1000
        rounds = self.budget.latency_grid_rounds
        cost_s = rounds * first_ms / 1000
        if self.reference in reasons:
            reasons |= dict.fromkeys(calls, f"the teacher has no time here: {reasons[self.reference]}")
        elif cost_s > self.left_s:
            reason = f"{rounds} rounds would take {cost_s:.0f} s, and the budget has {max(0, self.left_s):.0f} s left"
            reasons |= dict.fromkeys(calls, reason)
        points = {name: Point(**size, calls=0, reason=reason) for name, reason in reasons.items()}
        if len(points) < len(self.candidates):
            timed = {name: call for name, call in calls.items() if name not in reasons}
            ms = time_rounds(timed, calls=rounds, report=self.report, phase=f"timing {batch_size} x {length}")
            self.left_s -= sum(float(taken.sum()) for taken in ms.values()) / 1000
            points |= {name: summarize(taken, ms[self.reference], **size) for name, taken in ms.items()}
        return points


def _repeated(candidate: Candidate, batch: Batch) -> Turn:
    return lambda numbers: candidate.turn([batch] * len(numbers))


@contextmanager
def _in_shared_memory(candidates: Mapping[str, Candidate]) -> Iterator[dict[str, Candidate]]:
    """Yield `candidates`, those of PyTorch on the CPU in a shared memory; graphs manage their weights themselves."""
    on_cpu = {
        name: candidate
        for name, candidate in candidates.items()
        if candidate.back_end is BackEnd.TORCH and candidate.device.type == "cpu"
    }
    with shared_memory(candidate.model for candidate in on_cpu.values()) as loaders:
        shared = {
            name: replace(on_cpu[name], load_weights=loader)
            for name, loader in zip(on_cpu, loaders, strict=True)
        }
        yield {**candidates, **shared}
