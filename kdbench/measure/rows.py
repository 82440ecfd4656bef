"""What the latency phase loads of one row of the board: its model, its tokenizer, and its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn

from kdbench.artifacts import load_artifact
from kdbench.budgets import BackEnd
from kdbench.data.batches import Batch, model_inputs
from kdbench.fit import with_own_tokenizer
from kdbench.measure.grid import vocabulary
from kdbench.measure.stopwatch import stopwatch_for
from kdbench.measure.together import Candidate
from kdbench.onnx_model import OnnxModel
from kdbench.results import CellFiles
from kdbench.seeds import axis_seed
from kdbench.training.experiment import Experiment
from kdbench.training.teacher import TeacherStore

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class TimedRow:
    """A row's model, not yet loaded, and the task's data as its tokenizer encodes them."""

    load: Callable[[], nn.Module]
    experiment: Experiment

    @classmethod
    def of_cell(cls, experiment: Experiment, key: str) -> TimedRow:
        """Return the row of the cell `key`."""
        files = CellFiles(experiment.results, key)
        return cls(lambda: load_artifact(files.artifact), with_own_tokenizer(experiment, files))

    @classmethod
    def of_teacher(cls, experiment: Experiment) -> TimedRow:
        """Return the task's teacher, which no row of the board stands for."""
        return cls(TeacherStore(experiment).load, experiment)

    def candidate(self) -> Candidate:
        """Return the model, loaded, in the back end that it is made for."""
        model = self.load().eval()
        if isinstance(model, OnnxModel):
            return self.graph(model)
        return self._candidate(model.to(self.experiment.device), BackEnd.TORCH, self.experiment.device)

    def graph(self, model: OnnxModel) -> Candidate:
        """Return `model`, this row's or made of it, which runs on the CPU whatever else there is."""
        back_end = back_end_of(model)
        model.graph = b""  # the session has read it: two copies a model would fill the memory
        return self._candidate(model, back_end, _CPU)

    def _candidate(self, model: nn.Module, back_end: BackEnd, device: torch.device) -> Candidate:
        return Candidate(
            model=model,
            back_end=back_end,
            device=device,
            inputs=[{name: value.to(device) for name, value in batch.items()} for batch in self.inputs],
            vocabulary=self.vocabulary,
            longest=_longest(self.experiment, model),
            stopwatch=stopwatch_for(device),
        )

    @cached_property
    def inputs(self) -> list[Batch]:
        """Single scored rows, drawn so that lengths come as often as the task has them."""
        rows, collate = self.experiment.task.scored, self.experiment.collate
        return [model_inputs(collate([rows[int(place)]])) for place in drawn_rows(self.experiment)]

    @cached_property
    def vocabulary(self) -> list[int]:
        """The ids that inputs of the grid are made of."""
        return vocabulary(self.experiment.tokenizer)


def back_end_of(graph: OnnxModel) -> BackEnd:
    """Return the back end that `graph` runs in."""
    return BackEnd.ONNXRUNTIME_INT8 if graph.is_quantized() else BackEnd.ONNXRUNTIME


def drawn_rows(experiment: Experiment) -> np.ndarray:
    """Return the places in the scored split of the rows that are timed, each of an example of its own.

    They are at most half as many as rounds, so that the second half of the rounds answers the inputs of the first again.
    """
    _, firsts = np.unique(np.asarray(experiment.task.scored["example"]), return_index=True)
    drawn: np.ndarray = np.random.default_rng(axis_seed(0, "latency inputs")).choice(
        firsts, min(experiment.budget.latency_rounds // 2, len(firsts)), replace=False
    )
    return drawn


def _longest(experiment: Experiment, model: nn.Module) -> int:
    """Return the word pieces that `model` can read."""
    config = getattr(model, "config", None)
    name = "max_position_embeddings"
    positions = config.get(name) if isinstance(config, dict) else getattr(config, name, None)
    limits = [experiment.tokenizer.model_max_length, positions]
    return int(min(limit for limit in limits if isinstance(limit, int)))
