"""Implement the bench of a cell: a strategy's data, base model, students, teacher and training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import torch
from torch import nn
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase, set_seed

from kdbench.api.bench import Batch, Keep, Loss, TeacherOutput, TeacherOutputs
from kdbench.api.params import FINE_TUNING_RATES, Params, StudentParams, default_rate, params_of
from kdbench.api.strategy import Strategy
from kdbench.api.task import TaskKind
from kdbench.budgets import Budget
from kdbench.data import PreparedTask
from kdbench.data.preparing import without_labels
from kdbench.data.transfer import read_transfer_set, sample_examples
from kdbench.errors import UsageError
from kdbench.models.build import build_student, load_base, load_external_teacher, starts_fresh
from kdbench.training.callbacks import Trackers
from kdbench.training.experiment import Experiment
from kdbench.training.predict import join_rows, predict, row_logits
from kdbench.training.teacher import TEACHER_PARAMS, TEACHER_SEED, RunningTeacher, TeacherStore
from kdbench.training.trainer import Schedule, TrainingRun, train
from kdbench.utils.files import scratch_folder
from kdbench.utils.system import Report, axis_seed


class TrainingBench:
    """The bench of one cell: implements `kdbench.Bench` for strategies, and holds what the cell's record needs later."""

    def __init__(
        self,
        experiment: Experiment,
        strategy: Strategy,
        seed: int,
        report: Report,
        fitted: nn.Module | None = None,
    ) -> None:
        self.experiment = experiment
        self.seed = seed
        self.own_tokenizer = False
        """Whether the model is deployed with a tokenizer other than the base model's."""
        self.row: str | None = None
        """The name of the board row that this cell belongs to; trackers report its training under this name."""
        self.runs: list[TrainingRun] = []
        """The training loops that this cell ran, without the teacher's."""
        self.teacher_s = 0.0
        """Seconds spent on the teacher and its outputs, if this cell has used them."""
        self.is_teacher = False
        """Whether `finetuned` returned the teacher itself."""
        self.unlabelled_examples = 0
        """The number of distinct unlabelled examples that this cell trained on."""
        self._unlabelled: set[int] = set()
        self.task_bytes: int | None = None
        """Bytes that one more task adds, set where a joint strategy shares one encoder; otherwise the model tells."""
        self._fitted = fitted
        self._strategy = strategy
        self._report = report
        self._teachers = TeacherStore(experiment)
        self._drawn_from: datasets.Dataset | None = None
        self._drawn = 0
        """The rows that the latest training loop drew from, and how many batches; the next stage continues there."""

    @property
    def task(self) -> PreparedTask:
        """The task with its tokenized splits ``train``, ``validation`` and ``scored``."""
        return self.experiment.task

    @property
    def kind(self) -> TaskKind:
        """The task's kind, which defines the losses against labels and against a teacher's logits."""
        return self.experiment.kind

    @property
    def budget(self) -> Budget:
        """The budget, the same for every strategy."""
        return self.experiment.budget

    @property
    def params(self) -> Params:
        """The strategy's parameters."""
        return self._strategy.params

    @property
    def steps(self) -> int:
        """The optimizer steps that the budget gives every strategy on this task."""
        return self.budget.steps_for(self.experiment.kind, self.task.train_examples)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that the task's texts were encoded with."""
        return self.experiment.tokenizer

    @property
    def device(self) -> torch.device:
        """The device that models run on."""
        return self.experiment.device

    def collate(self, rows: Sequence[Mapping[str, Any]]) -> Batch:
        """Collate encoded rows into one batch, padded to the longest."""
        return self.experiment.collate(rows)

    def axis_seed(self, axis: str) -> int:
        """Return the seed of one source of randomness, derived from the cell's seed."""
        return axis_seed(self.seed, axis)

    def base(self) -> PreTrainedModel:
        """Return the base model with a newly initialized head for the task."""
        return self._load(self.experiment.base.path, self.params, self.seed)

    def fitted(self) -> nn.Module:
        """Return the model that the stages before a transform produced, loaded from its artifact."""
        if self._fitted is None:
            raise TypeError("only a transform has a model before it")
        return self._fitted

    def replace_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Deploy the model with `tokenizer`; from here on, `task` is encoded with it."""
        self.experiment = self.experiment.with_tokenizer(tokenizer)
        self.own_tokenizer = True

    def student(self, params: StudentParams) -> PreTrainedModel:
        """Return the untrained student that `params` describes."""
        folder = self.experiment.base.path
        if params.init == "teacher" and not starts_fresh(params, AutoConfig.from_pretrained(folder)):
            self._ensure_teacher()
            self.teacher_s = self._teachers.train_s()
            folder = self._teachers.folder
        start = self._load(folder, self.params, self.seed)
        return build_student(
            params, start=start, kind=self.experiment.kind, seed=axis_seed(self.seed, "init")
        )

    @cached_property
    def teacher(self) -> PreTrainedModel:
        """The fine-tuned teacher, frozen and in evaluation mode; trained on first use and shared by all cells."""
        self._ensure_teacher()
        self.teacher_s = self._teachers.train_s()
        model = self._teachers.load()
        nn.Module.to(model, self.experiment.device)
        model.requires_grad_(False)
        model.train(False)
        return model

    def finetuned(self) -> PreTrainedModel:
        """Return the base model fine-tuned for as many steps as the teacher, with this cell's parameters and seed.

        If both are the teacher's, it is the teacher itself.
        """
        if not params_of(self.params, Params) and self.seed == TEACHER_SEED:
            self._ensure_teacher()
            self.is_teacher = True
            run = self._teachers.run()
            self.runs += [run] if run else []
            return self._teachers.load()
        model = self.base()
        self.train(model, share=self.budget.teacher_factor)
        return model

    def train(
        self,
        model: nn.Module,
        *,
        loss: Loss | None = None,
        teacher_outputs: TeacherOutput | Literal["none"] | None = None,
        rows: datasets.Dataset | None = None,
        share: float = 1.0,
        learning_rate: float | None = None,
        keep: Keep = "best",
        extra: nn.Module | None = None,
        after_step: Callable[[int], None] | None = None,
    ) -> nn.Module:
        """Train `model` in place within the budget, as specified by `kdbench.Bench.train`."""
        if keep not in ("best", "last"):
            raise ValueError(f"keep={keep!r}: expected 'best' or 'last'")
        if teacher_outputs is None and loss is not None:
            teacher_outputs = self._strategy.teacher_outputs
        if teacher_outputs not in ("none", None):
            self._check_teacher_is_declared()
        rows = self.task.train if rows is None else rows
        schedule = self.schedule(share, learning_rate)
        batches = self._draw_batches(rows, schedule)
        used_rows = rows  # all of train, so that all strategies share the teacher's cached logits
        if rows is not self.task.train:
            used_rows = rows.select(sorted({row for batch in batches for row in batch}))
            self._count_unlabelled(used_rows)
        outputs: TeacherOutputs | None = None
        if teacher_outputs == "logits":
            outputs = self.teacher_logits(used_rows)
        elif teacher_outputs in ("hidden_states", "attentions"):
            attentions = teacher_outputs == "attentions"
            outputs = RunningTeacher(self.teacher, attentions=attentions)
            if attentions and isinstance(model, PreTrainedModel):
                model.set_attn_implementation("eager")  # fused kernels return no attentions
        elif teacher_outputs not in ("none", None):
            raise ValueError(
                f"teacher_outputs={teacher_outputs!r}: expected 'logits', 'hidden_states', 'attentions' or 'none'"
            )
        self.runs.append(
            self._train(
                model,
                schedule,
                params=self.params,
                rows=rows,
                phase="training",
                validate=self.validation_score if keep == "best" else None,
                loss=loss,
                teacher_outputs=outputs,
                extra=extra,
                after_step=after_step,
                batches=batches,
            )
        )
        return model

    def _draw_batches(self, rows: datasets.Dataset, schedule: Schedule) -> list[list[int]]:
        """Return the batches of a training loop; a second stage on the same rows continues where the first ended."""
        taken = self._drawn if self._drawn_from is rows else 0
        self._drawn_from, self._drawn = rows, taken + schedule.steps
        return schedule.batches(rows["length"], taken=taken)

    def schedule(self, share: float = 1.0, learning_rate: float | None = None) -> Schedule:
        """Return the schedule by which `train` trains on this task."""
        return self._schedule(self.params, self._strategy.learning_rates, self.seed, share, learning_rate)

    def validation_score(self, model: nn.Module) -> float:
        """Return the headline metric of `model` on the validation split, in training precision; higher is better."""
        experiment = self.experiment
        predictions = predict(
            model,
            self.task.validation,
            experiment.collate,
            device=experiment.device,
            precision=experiment.precision,
        )
        return experiment.metric.of(predictions, self.task.task.labels)

    def report(self, phase: str, done: int, total: int, loss: float | None) -> None:
        """Report the progress of a phase of this cell."""
        self._report(phase, done, total, loss)

    def teacher_logits(self, rows: datasets.Dataset) -> TeacherOutputs:
        """Return the teacher's logits on `rows`, as ``train(teacher_outputs="logits")`` passes them to a loss."""
        self._check_teacher_is_declared()
        self._ensure_teacher()
        outputs, seconds = self._teachers.logits(rows)
        self.teacher_s = self._teachers.train_s() + seconds
        return outputs

    def outputs(
        self, model: nn.Module, rows: datasets.Dataset, *, phase: str
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return, for each row, the model's logits, ``(units, classes)``, and the row's labels, ``(units,)``."""
        return row_logits(
            nn.Module.to(model, self.device),
            rows,
            self.experiment.collate,
            device=self.device,
            report=lambda done, total: self.report(phase, done, total, None),
        )

    def score(
        self, rows: datasets.Dataset, logits: Sequence[np.ndarray], labels: Sequence[np.ndarray]
    ) -> float:
        """Return the task's headline metric on the result of `outputs`; higher is better."""
        predictions = join_rows(rows, logits, labels, self.kind)
        return self.experiment.metric.of(predictions, self.task.task.labels)

    def count_fit(self, seconds: float, rows: datasets.Dataset, score: float) -> None:
        """Add a fit on `rows` without optimizer steps, its `seconds` and validation `score`, to the training cost."""
        tokens = sum(rows["length"])
        self.runs.append(
            TrainingRun(train_s=seconds, steps=0, examples=len(rows), tokens=tokens, best_score=score)
        )

    def sample(self, rows: datasets.Dataset, limit: int) -> datasets.Dataset:
        """Sample at most `limit` examples and return their rows in the order of `rows`; the same for every seed."""
        return sample_examples(rows, limit)

    def read_texts(self, path: Path, limit: int) -> datasets.Dataset:
        """Return at most `limit` texts of a file, one text per line, as rows with hidden labels."""
        return read_transfer_set(
            path, self.task, self.tokenizer, max_length=self.budget.max_length, limit=limit
        )

    def hide_labels(self, rows: datasets.Dataset) -> datasets.Dataset:
        """Return `rows` with `UNLABELLED` in place of every label."""
        return without_labels(rows, self.kind)

    def _check_teacher_is_declared(self) -> None:
        if not any(stage.uses_teacher() for stage in self._strategy.stages):
            raise TypeError(
                f"strategy {self._strategy.name!r} learns from the teacher's outputs; set teacher_outputs on its class, to "
                "'logits' say, so that its cells wait for the teacher and boards say that it uses one"
            )

    def _count_unlabelled(self, rows: datasets.Dataset) -> None:
        labelled = set(self.task.train["example"][:])
        self._unlabelled |= set(rows["example"][:]) - labelled
        self.unlabelled_examples = len(self._unlabelled)

    def _ensure_teacher(self) -> None:
        if self.own_tokenizer:
            raise UsageError(
                f"strategy {self._strategy.name!r} needs the teacher, which cannot read the trimmed vocabulary of the "
                "stages before it; put it before them"
            )
        with self._teachers.lock(), torch.enable_grad():  # a strategy's first use may be inside no_grad
            external = self.experiment.external_teacher
            if external is not None and not self._teachers.exists():
                self._teachers.save(load_external_teacher(external.path, self.task.task), None)
            elif not self._teachers.exists():
                model = self._load(self.experiment.base.path, TEACHER_PARAMS, TEACHER_SEED)
                schedule = self._schedule(
                    TEACHER_PARAMS, FINE_TUNING_RATES, TEACHER_SEED, self.budget.teacher_factor
                )
                run = self._train(
                    model,
                    schedule,
                    params=TEACHER_PARAMS,
                    rows=self.task.train,
                    phase="training the teacher",
                    validate=self.validation_score,
                )
                self._teachers.save(model, run)
        # The strategy's next random draws must not depend on whether the teacher was trained just now.
        set_seed(axis_seed(self.seed, "strategy"))

    def _load(self, folder: Path, params: Params, seed: int) -> PreTrainedModel:
        return load_base(
            folder,
            self.experiment.kind,
            self.task.task.labels,
            seed=axis_seed(seed, "init"),
            dropout=params.dropout,
            new_layers=params.new_layers,
        )

    def _schedule(
        self,
        params: Params,
        rates: Mapping[str, float],
        seed: int,
        share: float = 1.0,
        learning_rate: float | None = None,
    ) -> Schedule:
        kind = self.experiment.kind
        steps = self.budget.steps_for(kind, self.task.train_examples)
        return Schedule(
            steps=max(1, round(share * steps)),
            batch_size=self.budget.batch_size_for(kind),
            learning_rate=learning_rate or params.learning_rate or default_rate(rates, kind),
            evaluations=self.budget.evaluations,
            data_seed=axis_seed(seed, "data"),
            dropout_seed=axis_seed(seed, "dropout"),
        )

    def _train(self, model: nn.Module, schedule: Schedule, *, phase: str, **settings: Any) -> TrainingRun:
        with scratch_folder(self.experiment.results) as scratch:
            return train(
                model,
                settings.pop("rows"),
                self.experiment.collate,
                schedule=schedule,
                scratch=scratch,
                report=lambda step, steps, value: self._report(phase, step, steps, value),
                trackers=self.trackers(phase),
                **settings,
            )

    def trackers(self, phase: str) -> Trackers | None:
        """Return the experiment trackers for the next training loop; None if the cell's row has no name."""
        if self.row is None:
            return None
        loop = (self.row, f"seed {self.seed}", f"{phase} {len(self.runs) + 1}")
        folder = self.experiment.results / "tensorboard"
        return Trackers(folder, (self.task.task.name, *loop), self.experiment.report_to)
