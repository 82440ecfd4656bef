"""What an artifact takes to answer: operations and memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kdbench.artifacts import load_artifact
from kdbench.data.batches import Batch, model_inputs
from kdbench.measure.flops import forward_flops
from kdbench.measure.memory import load_and_answer
from kdbench.records import Compute
from kdbench.training.experiment import Experiment

ANSWERED_EXAMPLES = 8
"""How many scored examples are answered while memory is measured, from the shortest to the longest."""


def load_measured(artifact: Path, experiment: Experiment) -> tuple[nn.Module, Compute]:
    """Return the model in the folder `artifact` on the experiment's device, and what it takes to answer.

    Everything is measured at batch 1.

    Args:
        experiment: its scored rows are encoded by the artifact's tokenizer.
    """
    lengths = np.asarray(experiment.task.scored["length"][:])
    by_length = np.argsort(lengths, kind="stable")
    answered = by_length[np.linspace(0, len(lengths) - 1, ANSWERED_EXAMPLES).astype(int)]
    typical = int(np.abs(lengths - lengths.mean()).argmin())
    batches = [_single(experiment, int(row)) for row in answered]

    model, memory = load_and_answer(
        lambda: load_artifact(artifact), lambda model: _answer(model, batches), experiment.device
    )
    return model, Compute(
        flops_per_example=forward_flops(model, _single(experiment, typical)),
        flops_length=int(lengths[typical]),
        inference_peak_bytes=memory.peak_bytes,
        inference_libraries_bytes=memory.libraries_bytes,
        inference_peak_gpu_bytes=memory.peak_gpu_bytes,
    )


@torch.inference_mode()
def _answer(model: nn.Module, batches: Sequence[Batch]) -> None:
    for batch in batches:
        model(**batch)


def _single(experiment: Experiment, row: int) -> Batch:
    """Return one scored row as a model's inputs, on the experiment's device."""
    batch = model_inputs(experiment.collate([experiment.task.scored[row]]))
    return {name: value.to(experiment.device) for name, value in batch.items()}
