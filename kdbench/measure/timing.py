"""Models that are timed in the same rounds: warmed up, on the task's own sentences, and on a grid of batches."""

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
    """Return the ids of all word pieces but those with a meaning of their own."""
    return sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids))


def synthetic_batch(ids: Sequence[int], inputs: Iterable[str], batch_size: int, length: int) -> Batch:
    """Return `inputs`, each int64 ``(batch_size, length)``: word pieces drawn evenly from `ids`, all attended to.

    Args:
        ids: what to draw from.
        inputs: the names of what the model reads: ``input_ids``, ``attention_mask``, ``token_type_ids``.
        batch_size: sentences.
        length: word pieces of each.
    """
    draw = np.random.default_rng(axis_seed(batch_size * 1000 + length, "latency grid"))
    drawn = torch.from_numpy(draw.choice(np.asarray(ids, dtype=np.int64), (batch_size, length)))
    values = {"input_ids": drawn, "attention_mask": torch.ones_like(drawn)}
    return {name: values.get(name, torch.zeros_like(drawn)) for name in inputs}


_ALIGNMENT = 64
"""Bytes: a line of the processor's caches."""


@contextmanager
def one_memory(models: Iterable[nn.Module]) -> Iterator[Sequence[Callable[[], None]]]:
    """Have `models`, which are on the CPU, run from one memory in the block; give for each what brings its weights there.

    Where weights happen to lie decides about a call, by a tenth and more among equal models: in the system's cache of
    files, whose pages a loaded model shares, or in the memory that a virtual machine was given. From one memory all
    fare alike. In the block a model is itself from when its weights were brought until another's are.
    """
    moved = [_Moved(model) for model in models]
    memory = torch.empty(max([0, *(len(one.kept) for one in moved)]), dtype=torch.uint8)
    for one in moved:
        one.run_from(memory)
    try:
        yield [one.bring for one in moved]
    finally:
        for one in moved:
            one.run_from(one.kept)


class _Moved:
    """A model whose weights are kept in one piece, to be brought elsewhere at once."""

    def __init__(self, model: nn.Module) -> None:
        self._places: list[tuple[nn.Parameter, slice]] = []
        end = 0
        for parameter in model.parameters():  # one that is used twice comes once
            self._places.append((parameter, slice(end, end + parameter.nbytes)))
            end += -(-parameter.nbytes // _ALIGNMENT) * _ALIGNMENT
        self.kept = torch.empty(end, dtype=torch.uint8)
        self._memory = self.kept
        for parameter, place in self._places:
            self.kept[place] = parameter.detach().contiguous().view(-1).view(torch.uint8)

    def run_from(self, memory: Tensor) -> None:
        """Let the model read its weights in `memory`."""
        self._memory = memory
        for parameter, place in self._places:
            parameter.data = memory[place].view(parameter.dtype).view(parameter.shape)

    def bring(self) -> None:
        """Write the weights to where the model reads them."""
        self._memory[: len(self.kept)].copy_(self.kept)


CALLS_A_TURN = 3
"""Of the task's own sentences: bringing the weights takes as long as a call or two."""
HOT_UP_TO = 256
"""Word pieces of a batch; the calls of a larger one last so long that fetching the weights is a small part of them."""


def _nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Candidate:
    """A model and all that timing it needs."""

    model: nn.Module
    back_end: BackEnd
    device: torch.device
    inputs: Sequence[Batch]
    """The task's own sentences, one by one."""
    vocabulary: Sequence[int]
    longest: int | None
    """The word pieces that the model can read; None where nothing limits them."""
    stopwatch: Stopwatch

    bring: Callable[[], None] = _nothing
    """Brings the model's weights to where it runs from: see `one_memory`."""

    def own(self, numbers: range) -> list[float]:
        """Answer some of the task's own sentences; return milliseconds."""
        return self.turn([self.inputs[number % len(self.inputs)] for number in numbers])

    def turn(self, batches: Sequence[Batch]) -> list[float]:
        """Answer `batches`; return milliseconds.

        The models that answered before have filled the processor's caches with their own weights. So a call that is
        short comes after one that does not count, as that of a model that serves one request after the other.
        """
        self.bring()
        if batches[0]["input_ids"].numel() <= HOT_UP_TO:
            self.model(**batches[0])
        return [self._timed(batch) for batch in batches]

    def warm_up(self) -> WarmUp:
        """Warm up on the sentence of median length."""
        order = np.argsort([batch["input_ids"].shape[1] for batch in self.inputs], kind="stable")
        typical = self.inputs[int(order[len(order) // 2])]
        self.bring()
        return warm_up(lambda: self._timed(typical))

    def _timed(self, batch: Batch) -> float:
        return self.stopwatch(lambda: self.model(**batch))

    def synthetic(self, batch_size: int, length: int) -> Batch:
        """Return a batch of the grid."""
        batch = synthetic_batch(self.vocabulary, self.inputs[0], batch_size, length)
        return {name: value.to(self.device) for name, value in batch.items()}


@dataclass
class Measured:
    """What was measured of one candidate."""

    calls_ms: np.ndarray
    """Of the task's own sentences, from the first round on."""
    timing: BackEndTiming


@torch.inference_mode()
def time_together(
    candidates: Mapping[str, Candidate],
    *,
    reference: str,
    budget: Budget,
    gridded: Collection[str],
    report: Report,
) -> dict[str, Measured]:
    """Return what was measured of each of `candidates`.

    Args:
        candidates: what is timed, by name.
        reference: the name of the one that speed-ups are told of.
        budget: says how many calls, and how much a grid may cost.
        gridded: the names of those that are timed on the grid as well; the reference always joins them.
        report: how far it is.
    """
    with _in_one_memory(candidates) as candidates:
        warm = {}
        for number, (name, candidate) in enumerate(candidates.items()):
            warm[name] = candidate.warm_up()
            report("warming up", number + 1, len(candidates), None)
        calls = time_rounds(
            {name: candidate.own for name, candidate in candidates.items()},
            calls=budget.latency_rounds,
            calls_a_turn=CALLS_A_TURN,
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
        return {
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
    candidates: Mapping[str, Candidate]
    reference: str
    budget: Budget
    report: Report
    left_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.left_s = self.budget.latency_grid_seconds * len(self.candidates)

    def measure(self) -> dict[str, list[Point]]:
        """Return the points of each candidate, from the smallest batch to the largest."""
        points: dict[str, list[Point]] = {name: [] for name in self.candidates}
        for batch_size, length in GRID:
            for name, point in self._points(batch_size, length).items():
                points[name].append(point)
        return points

    def _points(self, batch_size: int, length: int) -> dict[str, Point]:
        """Return the point of this size of each candidate; the first call of each, which is not counted, warms it up."""
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
                told = " ".join(str(error).split())
                reasons[name] = f"the model does not answer such a batch: {type(error).__name__}: {told}"
                continue
            calls[name] = _always(candidate, batch)
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


def _always(candidate: Candidate, batch: Batch) -> Turn:
    return lambda numbers: candidate.turn([batch] * len(numbers))


@contextmanager
def _in_one_memory(candidates: Mapping[str, Candidate]) -> Iterator[dict[str, Candidate]]:
    """Give `candidates`, those of PyTorch on the CPU in one memory; a graph keeps its weights itself."""
    torches = {
        name: candidate
        for name, candidate in candidates.items()
        if candidate.back_end is BackEnd.TORCH and candidate.device.type == "cpu"
    }
    with one_memory(candidate.model for candidate in torches.values()) as brings:
        moved = {
            name: replace(torches[name], bring=bring) for name, bring in zip(torches, brings, strict=True)
        }
        yield {**candidates, **moved}
