"""Time models together in the same rounds: warm up, then the task's own sentences, then a grid of batches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from kdbench.api.bench import Batch
from kdbench.budgets import BackEnd, Budget
from kdbench.errors import described
from kdbench.measure.energy import Counter, Drawn, Meter, counter_of
from kdbench.measure.environment import emulated_types
from kdbench.measure.stopwatch import Stopwatch, Turn, WarmUp, time_rounds, warm_up
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
    padded: Callable[[int], Batch]
    """Returns a batch of so many of the task's own sentences, padded to the longest."""
    reload: Callable[[], nn.Module] | None = None
    """Returns the model anew, for the current number of threads; None where it follows that by itself."""
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

    def emulated(self) -> str | None:
        """Return the types of weights that the processor has to emulate, as text; None where there are none."""
        if self.device.type != "cpu":
            return None
        return " and ".join(emulated_types({weight.dtype for weight in self.model.parameters()})) or None

    def with_current_threads(self) -> Candidate:
        """Return the candidate for the current number of threads."""
        return self if self.reload is None else replace(self, model=self.reload())

    def warm_up(self) -> WarmUp:
        """Answer the longest sentence, which may be too long, and warm up on the one of median length."""
        order = np.argsort([batch["input_ids"].shape[1] for batch in self.inputs], kind="stable")
        typical = self.inputs[int(order[len(order) // 2])]
        self.load_weights()
        self.model(**self.inputs[int(order[-1])])
        if self.back_end.prepares_sizes:
            for batch in {batch["input_ids"].shape: batch for batch in self.inputs}.values():
                self.model(**batch)
        return warm_up(lambda: self._timed(typical))

    def _timed(self, batch: Batch) -> float:
        return self.stopwatch(lambda: self.model(**batch))

    @torch.inference_mode(False)  # for inputs of another kind, a compiled model is compiled again
    def synthetic(self, batch_size: int, length: int) -> Batch:
        """Return a batch of the grid."""
        batch = synthetic_batch(self.vocabulary, self.inputs[0], batch_size, length)
        return {name: value.to(self.device) for name, value in batch.items()}


@dataclass(frozen=True)
class Size:
    """What a call answers."""

    batch_size: int
    length: int | None
    """Word pieces of every sentence; None for the task's own sentences."""
    threads: int


MAIN = Size(1, None, 1)
"""The task's own sentences, one by one."""


@dataclass
class Timed:
    """One candidate's calls in this process."""

    warm_up: WarmUp
    calls_ms: dict[Size, list[float]] = field(default_factory=dict)
    """In the order of the rounds."""
    reasons: dict[Size, str] = field(default_factory=dict)
    """Why there is no call of a size."""
    drawn: Drawn | None = None
    """The energy for batches of `ENERGY_BATCH` on all cores; None where it was not measured."""


@torch.inference_mode()
def time_together(
    candidates: Mapping[str, Candidate],
    *,
    reference: str,
    budget: Budget,
    gridded: Collection[str],
    report: Report,
    seed: int = 0,
) -> dict[str, Timed]:
    """Time all `candidates` together on one thread, as often as `budget` says for this process.

    Those called `gridded` are timed on the grid as well, and the candidate called `reference` with them. It takes
    part in all rounds of any other. `seed` is that of the order within rounds.
    """
    with _in_shared_memory(candidates) as candidates:
        timed: dict[str, Timed] = {}
        answering = {}
        for number, (name, candidate) in enumerate(candidates.items()):
            try:
                timed[name] = Timed(candidate.warm_up())
                answering[name] = candidate
            except Exception as error:  # costs the others nothing, unless they are compared with it
                if name == reference:
                    raise
                reason = f"the model does not answer: {described(error)}"
                timed[name] = Timed(WarmUp(0, stable=False), reasons={MAIN: reason})
            report("warming up", number + 1, len(candidates), None)
        candidates = answering
        calls = time_rounds(
            {name: candidate.own for name, candidate in candidates.items()},
            calls=budget.latency_rounds,
            calls_per_turn=CALLS_PER_TURN,
            seconds=budget.latency_seconds,
            reference=reference,
            report=report,
            seed=seed,
        )
        for name, ms in calls.items():
            timed[name].calls_ms[MAIN] = ms.tolist()
        if gridded:
            with_grid = {
                name: candidate for name, candidate in candidates.items() if name in {reference, *gridded}
            }
            _Grid(with_grid, reference, budget, report, seed).add_to(timed)
        return timed


BATCH_SIZES_ON_ALL_CORES = (8, 32)


@torch.inference_mode()
def time_batches(
    candidates: Mapping[str, Candidate],
    *,
    threads: int,
    rounds: int,
    report: Report,
    timed: Mapping[str, Timed],
    seed: int = 0,
) -> None:
    """Time all `candidates` with padded batches of the task's own sentences, and add that to `timed`."""
    with _in_shared_memory(candidates) as candidates:
        for batch_size in BATCH_SIZES_ON_ALL_CORES:
            size = Size(batch_size, None, threads)
            calls: dict[str, Turn] = {}
            for name, candidate in candidates.items():
                if MAIN in timed[name].reasons:
                    continue
                batch = candidate.padded(batch_size)
                problem = _first_call(candidate, batch)
                if isinstance(problem, str):
                    timed[name].reasons[size] = problem
                else:
                    calls[name] = _repeated(candidate, batch)
            phase = f"timing batches of {batch_size}"
            for name, ms in time_rounds(calls, calls=rounds, report=report, phase=phase, seed=seed).items():
                timed[name].calls_ms[size] = ms.tolist()


ENERGY_BATCH = BATCH_SIZES_ON_ALL_CORES[-1]


@torch.inference_mode()
def measure_energy(
    candidates: Mapping[str, Candidate],
    *,
    threads: int,
    report: Report,
    timed: Mapping[str, Timed],
    counter_of: Callable[[torch.device], Counter | str] = counter_of,
) -> str | None:
    """Measure the energy of all `candidates` that `time_batches` has timed, and add it to `timed`.

    Returns:
        Why there is none of a device; None where all were measured.
    """
    size = Size(ENERGY_BATCH, None, threads)
    reasons = []
    for device in dict.fromkeys(one.device for one in candidates.values()):
        counter = counter_of(device)
        if isinstance(counter, str):
            reasons.append(counter)
            continue
        of_device = {name: one for name, one in candidates.items() if one.device == device}
        try:
            meter = Meter(counter)
            for number, (name, candidate) in enumerate(of_device.items()):
                if size in timed[name].calls_ms:
                    answer = partial(_answer, candidate, candidate.padded(ENERGY_BATCH))
                    timed[name].drawn = meter.draw(answer)
                report("measuring energy", number + 1, len(of_device), None)
        except Exception as error:  # costs no timing
            reasons.append(f"the counter ({counter.source}) failed: {described(error)}")
    return "; ".join(reasons) or None


def _answer(candidate: Candidate, batch: Batch) -> int:
    candidate.stopwatch(lambda: candidate.model(**batch))  # waits until a GPU has finished
    return ENERGY_BATCH


def _first_call(candidate: Candidate, batch: Batch) -> float | str:
    """Return the milliseconds of a call that does not count, or why the model does not answer such a batch."""
    try:
        if candidate.back_end.prepares_sizes:
            candidate.model(**batch)
        return candidate.turn([batch])[0]
    except Exception as error:
        return f"the model does not answer such a batch: {described(error)}"


@dataclass
class _Grid:
    """Times candidates on the grid of batch sizes and lengths, as far as the budget's seconds suffice."""

    candidates: Mapping[str, Candidate]
    reference: str
    budget: Budget
    report: Report
    seed: int
    left_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.left_s = self.budget.latency_grid_seconds * len(self.candidates)

    def add_to(self, timed: Mapping[str, Timed]) -> None:
        """Time each candidate on the grid, from the fewest word pieces to the most."""
        for batch_size, length in GRID:
            size = Size(batch_size, length, 1)
            calls, reasons = self._measure(size)
            for name, ms in calls.items():
                timed[name].calls_ms[size] = ms
            for name, reason in reasons.items():
                timed[name].reasons[size] = reason

    def _measure(self, size: Size) -> tuple[dict[str, list[float]], dict[str, str]]:
        """Return the times of each candidate or why it has none; the first call of each is a warm-up, uncounted."""
        assert size.length is not None
        calls: dict[str, Turn] = {}
        reasons: dict[str, str] = {}
        first_ms = 0.0
        for name, candidate in self.candidates.items():
            if candidate.longest is not None and size.length > candidate.longest:
                reasons[name] = f"the model reads {candidate.longest} word pieces at most"
                continue
            batch = candidate.synthetic(size.batch_size, size.length)
            first = _first_call(candidate, batch)
            if isinstance(first, str):
                reasons[name] = first
                continue
            first_ms += first
            calls[name] = _repeated(candidate, batch)
        self.left_s -= first_ms / 1000
        rounds = self.budget.latency_grid_rounds
        cost_s = rounds * first_ms / 1000
        if self.reference in reasons:
            reasons |= dict.fromkeys(calls, f"the teacher has no time here: {reasons[self.reference]}")
        elif cost_s > self.left_s:
            reason = f"{rounds} rounds would take {cost_s:.0f} s, and the budget has {max(0, self.left_s):.0f} s left"
            reasons |= dict.fromkeys(calls, reason)
        going = {name: call for name, call in calls.items() if name not in reasons}
        if not going:
            return {}, reasons
        phase = f"timing {size.batch_size} x {size.length}"
        ms = time_rounds(going, calls=rounds, report=self.report, phase=phase, seed=self.seed)
        self.left_s -= sum(float(taken.sum()) for taken in ms.values()) / 1000
        return {name: taken.tolist() for name, taken in ms.items()}, reasons


def _repeated(candidate: Candidate, batch: Batch) -> Turn:
    return lambda numbers: candidate.turn([batch] * len(numbers))


@contextmanager
def _in_shared_memory(candidates: Mapping[str, Candidate]) -> Iterator[dict[str, Candidate]]:
    """Yield `candidates`, those of PyTorch on the CPU in a shared memory; graphs manage their weights themselves."""
    on_cpu = {
        name: candidate
        for name, candidate in candidates.items()
        if candidate.back_end in (BackEnd.TORCH, BackEnd.TORCH_COMPILE) and candidate.device.type == "cpu"
    }
    with shared_memory(candidate.model for candidate in on_cpu.values()) as loaders:
        shared = {
            name: replace(on_cpu[name], load_weights=loader)
            for name, loader in zip(on_cpu, loaders, strict=True)
        }
        yield {**candidates, **shared}
