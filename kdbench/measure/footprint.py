"""Measure the memory and operations that an artifact needs for inference."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kdbench.api.bench import Batch, model_inputs
from kdbench.errors import described
from kdbench.measure.environment import peak_memory_bytes
from kdbench.models.artifacts import load_artifact
from kdbench.models.cost import forward_flops
from kdbench.results.records import Compute
from kdbench.training.experiment import Experiment

PROC_STATUS = Path("/proc/self/status")
PROC_CLEAR_REFS = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class InferenceMemory:
    """The memory use of a model; None where the system does not report it (Linux does)."""

    peak_bytes: int | None
    """The most that the model added to the resident set, from loading until it had answered."""
    libraries_bytes: int | None
    """The resident set without the model."""
    peak_gpu_bytes: int | None
    """The most that it added to torch's memory on the GPU; None on a CPU."""


def load_and_answer(
    load: Callable[[], nn.Module], answer: Callable[[nn.Module], object], device: torch.device
) -> tuple[nn.Module, InferenceMemory]:
    """Return the model from `load`, and the memory needed to load it and let it `answer`.

    Everything runs twice and is measured the second time: what the first run loads (a library's code, its buffers) does
    not belong to the model. Temporary memory during loading is not counted, but what remains of it is. All weights
    count, even if their file is memory-mapped and the answers read only a few rows of the embedding table. `load`
    returns the model on the CPU, `answer` gets it on `device`.
    """
    answer(load().to(device))
    can_measure = release_memory()
    before, before_gpu = resident_bytes(), _gpu_bytes(device)
    model = load().to(device)
    can_measure = reset_peaks(device) and can_measure
    _read_weights(model)
    answer(model)
    added = peak_memory_bytes() - before if can_measure and before is not None else None
    return model, InferenceMemory(
        peak_bytes=added if added is not None and added > 0 else None,
        libraries_bytes=before if added is not None else None,
        peak_gpu_bytes=_gpu_peak_bytes(device, before_gpu),
    )


@torch.no_grad()
def _read_weights(model: nn.Module) -> None:
    for weights in (*model.parameters(), *model.buffers()):
        weights.sum()


def release_memory() -> bool:
    """Return freed memory to the system, as the next model would reuse it unmeasured; return whether this succeeded."""
    gc.collect()
    torch.cuda.empty_cache()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):  # the C library is not glibc
        return False
    return True


def reset_peaks(device: torch.device) -> bool:
    """Reset the peaks, so that they are measured from here on (proc(5), clear_refs); return whether this succeeded."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        PROC_CLEAR_REFS.write_text("5")
        return True
    return False


def resident_bytes() -> int | None:
    """Return the resident set of this process; None where the system does not report it (Linux does)."""
    with suppress(OSError):
        for line in PROC_STATUS.read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return None


def _gpu_bytes(device: torch.device) -> int | None:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else None


def _gpu_peak_bytes(device: torch.device, before: int | None) -> int | None:
    return None if before is None else torch.cuda.max_memory_allocated(device) - before


ANSWERED_EXAMPLES = 8
"""The number of scored examples, from the shortest to the longest, that are answered while memory is measured."""


@dataclass(frozen=True)
class Measured:
    """A loaded model and what it needs for inference."""

    model: nn.Module
    compute: Compute
    remarks: tuple[str, ...]
    """Why a figure of `compute` is missing, where measuring it raised an error: that costs the figure, not the score."""


def load_measured(artifact: Path, experiment: Experiment) -> Measured:
    """Load the model in the folder `artifact` on the experiment's device, and measure its inference at batch 1.

    The experiment's scored rows are encoded by the artifact's tokenizer.
    """
    lengths = np.asarray(experiment.task.scored["length"][:])
    by_length = np.argsort(lengths, kind="stable")
    answered = by_length[np.linspace(0, len(lengths) - 1, ANSWERED_EXAMPLES).astype(int)]
    typical = int(np.abs(lengths - lengths.mean()).argmin())
    windows = 1.0
    if experiment.budget.window_stride is not None:
        windows = len(lengths) / experiment.task.scored_examples
    batches = [_single(experiment, int(row)) for row in answered]
    remarks = []
    memory, flops = InferenceMemory(None, None, None), None
    try:
        model, memory = load_and_answer(
            lambda: load_artifact(artifact), lambda model: _answer(model, batches), experiment.device
        )
    except Exception as error:  # of the system, or the model's own: then scoring raises it again
        model = load_artifact(artifact).to(experiment.device)
        remarks.append(f"its memory could not be measured: {described(error)}")
    try:
        counted = forward_flops(model, _single(experiment, typical))
        flops = None if counted is None else round(windows * counted)
    except Exception as error:  # the counter knows not every way of computing
        remarks.append(f"its operations could not be counted: {described(error)}")
    compute = Compute(
        flops_per_example=flops,
        flops_length=int(lengths[typical]),
        inference_peak_bytes=memory.peak_bytes,
        inference_libraries_bytes=memory.libraries_bytes,
        inference_peak_gpu_bytes=memory.peak_gpu_bytes,
    )
    return Measured(model, compute, tuple(remarks))


@torch.inference_mode()
def _answer(model: nn.Module, batches: Sequence[Batch]) -> None:
    for batch in batches:
        model(**batch)


def _single(experiment: Experiment, row: int) -> Batch:
    """Return one scored row as a model's inputs, on the experiment's device."""
    batch = model_inputs(experiment.collate([experiment.task.scored[row]]))
    return {name: value.to(experiment.device) for name, value in batch.items()}
