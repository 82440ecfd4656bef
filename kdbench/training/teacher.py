"""Store teachers and their outputs, once per seed and content hash.

A teacher is the base model fine-tuned on the task, or a model that the user provides (`kdbench.models.external_teacher`). It
may have another tokenizer than its students: see `kdbench.data.matching`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import datasets
import numpy as np
import torch
from pydantic import TypeAdapter
from torch import nn
from transformers import PreTrainedModel
from transformers.utils.generic import ModelOutput

from kdbench.api.bench import Batch, model_inputs
from kdbench.api.params import FINE_TUNING_RATES, Params, default_rate
from kdbench.data.matching import Pairs, in_other_ids, outputs_by_example
from kdbench.errors import UsageError
from kdbench.models.build import auto_class
from kdbench.models.foreign import load_config, load_weights
from kdbench.training.cached_outputs import CachedLogits, CachedStates, LogitsByRow
from kdbench.training.device import training_precision
from kdbench.training.experiment import Experiment
from kdbench.training.predict import row_logits
from kdbench.training.trainer import TrainingRun
from kdbench.utils.files import content_hash, remove_folder
from kdbench.utils.locks import locked
from kdbench.utils.sealed import damage, discard_damaged, sealed_folder
from kdbench.utils.system import Clock, Seconds

_RUN: TypeAdapter[TrainingRun | None] = TypeAdapter(TrainingRun | None)

TEACHER_PARAMS = Params()
"""The teacher is fine-tuned with default parameters."""
_USUAL_WIDTH = 384
"""Of the encoder that the default learning rates were chosen on."""


class TeacherStore:
    """The folder of a seed's teacher in the results, ``teachers/<key>/``: weights, ``training.json``, cached outputs."""

    def __init__(self, experiment: Experiment, seed: int) -> None:
        self._experiment = experiment
        self._seed = seed
        self.folder = experiment.results / "teachers" / teacher_key(experiment, seed)

    def lock(self) -> AbstractContextManager[bool]:
        """Return the lock to train the teacher under, so that two processes never train the same one."""
        return locked(self.folder.with_name(f"{self.folder.name}.lock"))

    def exists(self) -> bool:
        """Return whether the teacher is stored; one of which a file is missing or has another size is not."""
        has_weights = any(self.folder.glob("*.safetensors"))
        is_written = has_weights and (self.folder / "training.json").exists()
        return is_written and not damage(self.folder, sizes_only=True)

    def discard_damaged(self) -> None:
        """Delete a damaged teacher, with its outputs; for holders of the lock."""
        task = self._experiment.task.task.name
        discard_damaged(self.folder, f"the teacher of {task}, seed {self._seed},")

    def save(self, model: PreTrainedModel, run: TrainingRun | None) -> None:
        """Store the teacher; `run` is None for a teacher provided by the user."""
        with sealed_folder(self.folder) as partial:
            model.save_pretrained(partial)
            (partial / "training.json").write_bytes(_RUN.dump_json(run) + b"\n")

    def load(self) -> PreTrainedModel:
        """Load the stored teacher."""
        model: PreTrainedModel = load_weights(auto_class(self._experiment.kind), self.folder)
        return model

    def run(self) -> TrainingRun | None:
        """Return the teacher's training run; None for a teacher provided by the user."""
        return _RUN.validate_json((self.folder / "training.json").read_bytes())

    def training(self) -> Seconds:
        """Return what training the teacher took; 0 for a teacher provided by the user."""
        run = self.run()
        return Seconds(run.train_s, run.train_cpu_s) if run else Seconds(0.0, 0.0)

    def logits(self, rows: datasets.Dataset, further: Pairs = ()) -> tuple[CachedLogits, Seconds]:
        """Return the teacher's logits on `rows`, computed at the first call, and what this took.

        Args:
            rows: rows of the students' tokenizer.
            further: beside the task's splits, rows of both tokenizers of examples that `rows` may belong to.

        Raises:
            UsageError: the teacher splits texts otherwise than its students, and a strategy made some of `rows` itself.
        """
        experiment = self._experiment

        def compute(folder: Path) -> None:
            CachedLogits.write(folder, rows["id"], self._row_logits(rows, further))

        folder, seconds = self._computed_once("logits", rows, compute)
        return CachedLogits(folder, per_word=experiment.kind.per_word), seconds

    def _row_logits(self, rows: datasets.Dataset, further: Pairs) -> list[np.ndarray]:
        experiment, model = self._experiment, nn.Module.to(self.load(), self._experiment.device)

        def compute(own: datasets.Dataset) -> list[np.ndarray]:
            logits, _ = row_logits(
                model,
                own,
                experiment.of_teacher.collate,
                device=experiment.device,
                precision=experiment.precision,
            )
            return logits

        if not experiment.teacher_has_own_ids:
            return compute(rows)
        if experiment.teacher_ids is not None:
            return compute(in_other_ids(rows, experiment.teacher_ids))
        try:
            pairs = [*experiment.encoded_pairs, *further]
            return outputs_by_example(
                rows,
                pairs,
                compute,
                per_word=experiment.kind.per_word,
                pooling=experiment.budget.window_pooling,
            )
        except LookupError as error:
            raise UsageError(
                f"the teacher {experiment.of_teacher.base.name} splits texts into other word pieces than the student, so it "
                f"cannot answer {error}; leave such rows out (augmentation=false)"
            ) from None

    def states(self, rows: datasets.Dataset, logits: LogitsByRow) -> tuple[CachedStates, Seconds]:
        """Return the teacher's hidden states on `rows` beside `logits`, as `logits` does."""
        experiment = self._experiment

        def compute(folder: Path) -> None:
            model = nn.Module.to(self.load(), experiment.device)
            own = rows
            if experiment.teacher_has_own_ids and experiment.teacher_ids is not None:
                own = in_other_ids(rows, experiment.teacher_ids)
            collate = experiment.of_teacher.collate
            CachedStates.write(folder, model, own, collate, lambda: experiment.precision)

        folder, seconds = self._computed_once("states", rows, compute)
        return CachedStates(folder, logits), seconds

    def remove_states(self) -> None:
        """Delete the stored hidden states, which may be as large as a gigabyte; they are computed again if needed."""
        for path in self.folder.glob("states-*"):
            remove_folder(path) if path.is_dir() else path.unlink(missing_ok=True)

    def _computed_once(
        self, name: str, rows: datasets.Dataset, compute: Callable[[Path], None]
    ) -> tuple[Path, Seconds]:
        """Return the folder of the outputs `name` on `rows`, by `compute` at the first call, and what that took."""
        pieces = content_hash([rows["id"][:], rows["input_ids"][:]])
        folder = self.folder / f"{name}-{pieces}"
        timing = folder / "seconds.json"
        with self.lock():
            discard_damaged(folder, f"a file of the teacher's {name}")
            if not timing.exists():
                with sealed_folder(folder) as partial:
                    clock = Clock()
                    compute(partial)
                    taken = clock.read()
                    seconds = {"seconds": taken.wall, "cpu_seconds": taken.cpu}
                    (partial / timing.name).write_text(json.dumps(seconds) + "\n")
        stored = json.loads(timing.read_text())
        return folder, Seconds(float(stored["seconds"]), stored.get("cpu_seconds"))


class RunningTeacher:
    """A frozen teacher that runs in every step and returns hidden states, and attentions if requested.

    Args:
        model: the teacher.
        experiment: that of the students, whose batches it gets.
        attentions: whether attentions are requested.
    """

    def __init__(self, model: PreTrainedModel, experiment: Experiment, *, attentions: bool) -> None:
        self.requested = {"output_hidden_states": True}
        if attentions:
            self.requested["output_attentions"] = True
            model.set_attn_implementation("eager")  # fused kernels return no attentions
        self._model = model
        self._inputs = experiment.of_teacher.tokenizer.model_input_names
        ids = experiment.teacher_ids if experiment.teacher_has_own_ids else None
        self._ids = None if ids is None else torch.from_numpy(ids).to(model.device)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> ModelOutput:
        """Return the teacher's outputs for `batch`, in training precision like the cached logits."""
        inputs = {name: value for name, value in model_inputs(batch).items() if name in self._inputs}
        if self._ids is not None:
            inputs["input_ids"] = self._ids[inputs["input_ids"]]
        with training_precision(self._model.device):
            outputs: ModelOutput = self._model(**inputs, **self.requested)
        return outputs


def teacher_rate(experiment: Experiment) -> float:
    """Return the peak learning rate of the teacher's training.

    The default rates were chosen on an encoder of width 384. One that the user provides may be wider: its rate is smaller in
    proportion, 5e-5 for a text classifier of width 768, within what Devlin et al. 2019 (arXiv:1810.04805, appendix A.3) advise.
    """
    rate = default_rate(FINE_TUNING_RATES, experiment.kind)
    if experiment.external_teacher is None:
        return rate
    width = float(load_config(experiment.external_teacher.path).hidden_size)
    return rate * min(1.0, _USUAL_WIDTH / width)


def teacher_key(experiment: Experiment, seed: int) -> str:
    """Return a hash of everything that determines the teacher's weights and its logits on the training rows.

    Every seed has a teacher of its own, so that the spread between seeds contains the teacher's; a teacher provided by
    the user is the same for all.
    """
    experiment = experiment.origin or experiment
    external, base = experiment.external_teacher, experiment.base
    origin: dict[str, object] = {
        "params": TEACHER_PARAMS.identity(),
        "learning_rate": teacher_rate(experiment),
        "seed": seed,
    }
    if external is not None and experiment.trains_teacher:
        base = external
    elif external is not None:
        origin = {"teacher": external.sha256}
    return content_hash(
        {
            **origin,
            "base": base.sha256,
            "task": experiment.task.task.name,
            "labels": experiment.task.task.labels,
            "data": experiment.task.fingerprint,
            "budget": experiment.budget.identity(),
        }
    )
