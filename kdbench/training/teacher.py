"""The teacher: the base model fine-tuned on the task, trained once and kept by content hash."""

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
    """Logits by row id, memory-mapped from the folder that `write` made.

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
        """Keep the logits ``(units, classes)`` of each row under its id."""
        order = np.argsort(ids)
        rows = [logits[i] for i in order]
        with folder_atomically(folder) as partial:
            np.save(partial / "ids.npy", np.asarray(ids)[order])
            np.save(partial / "offsets.npy", np.cumsum([0, *(len(row) for row in rows)]))
            np.save(partial / "logits.npy", np.concatenate(rows).astype(np.float32))

    def __call__(self, batch: Batch) -> SimpleNamespace:
        """Return ``.logits`` for `batch`: ``(batch, classes)``, or ``(batch, sequence, classes)`` for tokens.

        Positions that do not count hold zeros.

        Raises:
            KeyError: a row of the batch was never given to `write`, or had another number of units then.
        """
        ids = batch["id"].cpu().numpy()
        places = np.searchsorted(self._ids, ids)
        found = places < len(self._ids)
        found[found] = self._ids[places[found]] == ids[found]
        if not found.all():
            raise KeyError(f"the teacher has no logits for the rows {ids[~found].tolist()}")
        flat = np.concatenate([self._logits[self._offsets[p] : self._offsets[p + 1]] for p in places])
        labels = batch["labels"]
        if not self._per_word:
            return SimpleNamespace(logits=torch.from_numpy(flat).to(labels.device))
        counted = labels != IGNORED
        if int(counted.sum()) != len(flat):
            raise KeyError("the teacher's logits were computed over other words than the batch has")
        logits = torch.zeros(*labels.shape, flat.shape[-1], device=labels.device)
        logits[counted] = torch.from_numpy(flat).to(labels.device)
        return SimpleNamespace(logits=logits)


_RUN: TypeAdapter[TrainingRun | None] = TypeAdapter(TrainingRun | None)

TEACHER_SEED = 0
TEACHER_PARAMS = Params()
"""The teacher is fine-tuned with every parameter at its default."""


class TeacherStore:
    """The teachers of a results folder: ``teachers/<key>/`` with weights, ``training.json`` and ``logits/``."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self.folder = experiment.results / "teachers" / teacher_key(experiment)

    def lock(self) -> FileLock:
        """Return the lock under which the teacher is trained; two processes never train it twice."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{self.folder}.lock")

    def exists(self) -> bool:
        """Return whether the teacher was trained."""
        return (self.folder / "training.json").exists()

    def save(self, model: PreTrainedModel, run: TrainingRun | None) -> None:
        """Keep the teacher; `run` is None for one that the user gave."""
        with folder_atomically(self.folder) as partial:
            model.save_pretrained(partial)
            (partial / "training.json").write_bytes(_RUN.dump_json(run) + b"\n")

    def load(self) -> PreTrainedModel:
        """Return the teacher as it was trained."""
        model: PreTrainedModel = auto_class(self._experiment.kind).from_pretrained(self.folder)
        return model

    def run(self) -> TrainingRun | None:
        """Return what training the teacher took; None for one that the user gave."""
        return _RUN.validate_json((self.folder / "training.json").read_bytes())

    def train_s(self) -> float:
        """Return the seconds that training the teacher took here; 0 for one that the user gave."""
        run = self.run()
        return run.train_s if run else 0.0

    def logits(self, rows: datasets.Dataset) -> tuple[CachedLogits, float]:
        """Return the teacher's logits over `rows`, computed at the first call, and the seconds that took."""
        pieces = content_hash([rows["id"][:], rows["input_ids"][:]])
        folder = self.folder / f"logits-{pieces}"
        timing = self.folder / f"logits-{pieces}.json"
        with self.lock():
            if not folder.exists():
                write_atomically(timing, json.dumps({"seconds": self._write_logits(folder, rows)}) + "\n")
        return CachedLogits(folder, per_word=self._experiment.kind.per_word), float(
            json.loads(timing.read_text())["seconds"]
        )

    def _write_logits(self, folder: Path, rows: datasets.Dataset) -> float:
        experiment = self._experiment
        started = time.perf_counter()
        model: nn.Module = self.load()
        model.to(experiment.device)
        logits, _ = row_logits(
            model, rows, experiment.collate, device=experiment.device, precision=experiment.precision
        )
        CachedLogits.write(folder, rows["id"], logits)
        return time.perf_counter() - started


class RunningTeacher:
    """A frozen teacher that runs in every step and answers with hidden states, and with attentions where asked."""

    def __init__(self, model: PreTrainedModel, *, attentions: bool) -> None:
        self.requested = {"output_hidden_states": True}
        if attentions:
            self.requested["output_attentions"] = True
            model.set_attn_implementation("eager")  # the fused kernels give no attentions
        self._model = model

    @torch.no_grad()
    def __call__(self, batch: Batch) -> ModelOutput:
        """Return the teacher's outputs on `batch`, in training's precision, as the cached logits are."""
        with training_precision(self._model.device):
            outputs: ModelOutput = self._model(**model_inputs(batch), **self.requested)
        return outputs


def teacher_key(experiment: Experiment) -> str:
    """Return the hash of all that the teacher's weights, and its logits over the training rows, follow from."""
    given = experiment.external_teacher
    origin: dict[str, object]
    if given is not None:
        origin = {"teacher": given.sha256}
    else:
        rate = default_rate(FINE_TUNING_RATES, experiment.kind)
        origin = {
            "params": TEACHER_PARAMS.model_dump(mode="json"),
            "learning_rate": rate,
            "seed": TEACHER_SEED,
        }
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
