"""Store teachers and their logits: the base model fine-tuned on the task, once per seed and content hash."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import torch
from filelock import FileLock
from pydantic import TypeAdapter
from torch import nn
from transformers import PreTrainedModel
from transformers.utils.generic import ModelOutput

from kdbench.api.bench import Batch, model_inputs
from kdbench.api.kinds import IGNORED
from kdbench.api.params import FINE_TUNING_RATES, Params, default_rate
from kdbench.models.build import auto_class
from kdbench.training.device import training_precision
from kdbench.training.experiment import Experiment
from kdbench.training.predict import row_logits
from kdbench.training.trainer import TrainingRun
from kdbench.utils.files import content_hash, folder_atomically, write_atomically


class CachedLogits:
    """Logits by row id, memory-mapped from a folder that `write` created.

    ``ids.npy`` ``(rows,)`` sorted; ``offsets.npy`` ``(rows + 1,)``; ``logits.npy`` ``(units, classes)`` float32.
    """

    requested: Mapping[str, bool] = {}

    def __init__(self, folder: Path, *, per_word: bool) -> None:
        self._per_word = per_word
        self._ids = np.load(folder / "ids.npy")
        self._offsets = np.load(folder / "offsets.npy")
        self._logits = np.load(folder / "logits.npy", mmap_mode="r")

    @staticmethod
    def write(folder: Path, ids: Sequence[int], logits: Sequence[np.ndarray]) -> None:
        """Write the logits ``(units, classes)`` of each row, with the rows' ids, to `folder`."""
        order = np.argsort(ids)
        rows = [logits[i] for i in order]
        with folder_atomically(folder) as partial:
            np.save(partial / "ids.npy", np.asarray(ids)[order])
            np.save(partial / "offsets.npy", np.cumsum([0, *(len(row) for row in rows)]))
            np.save(partial / "logits.npy", np.concatenate(rows).astype(np.float32))

    def __call__(self, batch: Batch) -> SimpleNamespace:
        """Return ``.logits`` for `batch`: ``(batch, classes)``, or ``(batch, sequence, classes)`` for tokens.

        Positions that do not count are zero.

        Raises:
            KeyError: a row of the batch was not passed to `write`, or had a different number of units.
        """
        ids = batch["id"].cpu().numpy()
        places = np.searchsorted(self._ids, ids)
        known = places < len(self._ids)
        known[known] = self._ids[places[known]] == ids[known]
        if not known.all():
            raise KeyError(f"the teacher has no logits for the rows {ids[~known].tolist()}")
        flat = np.concatenate([self._logits[self._offsets[p] : self._offsets[p + 1]] for p in places])
        labels = batch["labels"]
        if not self._per_word:
            return SimpleNamespace(logits=torch.from_numpy(flat).to(labels.device))
        counted = labels != IGNORED
        if int(counted.sum()) != len(flat):
            raise KeyError("the teacher's logits were computed on other words than the batch has")
        logits = torch.zeros(*labels.shape, flat.shape[-1], device=labels.device)
        logits[counted] = torch.from_numpy(flat).to(labels.device)
        return SimpleNamespace(logits=logits)


_RUN: TypeAdapter[TrainingRun | None] = TypeAdapter(TrainingRun | None)

TEACHER_PARAMS = Params()
"""The teacher is fine-tuned with default parameters."""


class TeacherStore:
    """The folder of a seed's teacher in the results, ``teachers/<key>/``: weights, ``training.json``, ``logits-<hash>/``."""

    def __init__(self, experiment: Experiment, seed: int) -> None:
        self._experiment = experiment
        self.folder = experiment.results / "teachers" / teacher_key(experiment, seed)

    def lock(self) -> FileLock:
        """Return the lock to train the teacher under, so that two processes never train the same one."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{self.folder}.lock")

    def exists(self) -> bool:
        """Return whether the teacher is stored."""
        return (self.folder / "training.json").exists()

    def save(self, model: PreTrainedModel, run: TrainingRun | None) -> None:
        """Store the teacher; `run` is None for a teacher provided by the user."""
        with folder_atomically(self.folder) as partial:
            model.save_pretrained(partial)
            (partial / "training.json").write_bytes(_RUN.dump_json(run) + b"\n")

    def load(self) -> PreTrainedModel:
        """Load the stored teacher."""
        model: PreTrainedModel = auto_class(self._experiment.kind).from_pretrained(self.folder)
        return model

    def run(self) -> TrainingRun | None:
        """Return the teacher's training run; None for a teacher provided by the user."""
        return _RUN.validate_json((self.folder / "training.json").read_bytes())

    def train_s(self) -> float:
        """Return the seconds that training the teacher took; 0 for a teacher provided by the user."""
        run = self.run()
        return run.train_s if run else 0.0

    def logits(self, rows: datasets.Dataset) -> tuple[CachedLogits, float]:
        """Return the teacher's logits on `rows`, computed at the first call, and the seconds that this took."""
        experiment = self._experiment
        pieces = content_hash([rows["id"][:], rows["input_ids"][:]])
        folder = self.folder / f"logits-{pieces}"
        timing = self.folder / f"logits-{pieces}.json"
        with self.lock():
            if not folder.exists():
                started = time.perf_counter()
                logits, _ = row_logits(
                    nn.Module.to(self.load(), experiment.device),
                    rows,
                    experiment.collate,
                    device=experiment.device,
                    precision=experiment.precision,
                )
                CachedLogits.write(folder, rows["id"], logits)
                seconds = time.perf_counter() - started
                write_atomically(timing, json.dumps({"seconds": seconds}) + "\n")
        seconds = float(json.loads(timing.read_text())["seconds"])
        return CachedLogits(folder, per_word=experiment.kind.per_word), seconds


class RunningTeacher:
    """A frozen teacher that runs in every step and returns hidden states, and attentions if requested."""

    def __init__(self, model: PreTrainedModel, *, attentions: bool) -> None:
        self.requested = {"output_hidden_states": True}
        if attentions:
            self.requested["output_attentions"] = True
            model.set_attn_implementation("eager")  # fused kernels return no attentions
        self._model = model

    @torch.no_grad()
    def __call__(self, batch: Batch) -> ModelOutput:
        """Return the teacher's outputs for `batch`, in training precision like the cached logits."""
        with training_precision(self._model.device):
            outputs: ModelOutput = self._model(**model_inputs(batch), **self.requested)
        return outputs


def teacher_key(experiment: Experiment, seed: int) -> str:
    """Return a hash of everything that determines the teacher's weights and its logits on the training rows.

    Every seed has a teacher of its own, so that the spread between seeds contains the teacher's; a teacher provided by
    the user is the same for all.
    """
    external = experiment.external_teacher
    origin: dict[str, object] = {
        "params": TEACHER_PARAMS.model_dump(mode="json"),
        "learning_rate": default_rate(FINE_TUNING_RATES, experiment.kind),
        "seed": seed,
    }
    if external is not None:
        origin = {"teacher": external.sha256}
    return content_hash(
        {
            **origin,
            "base": experiment.base.sha256,
            "task": experiment.task.task.name,
            "labels": experiment.task.task.labels,
            "data": experiment.task.fingerprint,
            "budget": experiment.budget.identity(),
        }
    )
