"""The bench that a strategy works at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel, set_seed

from kdbench.budgets import Budget
from kdbench.data import PreparedTask
from kdbench.files import scratch_folder
from kdbench.kinds import TaskKind
from kdbench.metrics import get_metric
from kdbench.seeds import axis_seed
from kdbench.strategy import FINE_TUNING_RATES, Params, Strategy, StudentParams
from kdbench.training.experiment import Experiment
from kdbench.training.given_teacher import load_given_teacher
from kdbench.training.models import build_student, load_base, starts_fresh
from kdbench.training.predict import predict
from kdbench.training.teacher import TEACHER_PARAMS, TEACHER_SEED, RunningTeacher, TeacherStore
from kdbench.training.trainer import Loss, Schedule, TeacherOutputs, TrainingRun, hard_label_loss, train

Report = Callable[[str, int, int, float | None], None]
"""``report(phase, done, total, loss)``."""


class Bench:
    """All that a strategy may need to turn a base model and a task into a model."""

    def __init__(self, experiment: Experiment, strategy: Strategy, seed: int, report: Report) -> None:
        self.experiment = experiment
        self.seed = seed
        self.runs: list[TrainingRun] = []
        """The training loops that this cell ran; the teacher's is not among them."""
        self.teacher_s = 0.0
        """Seconds that the teacher and its outputs took, once this cell has used them."""
        self.is_teacher = False
        """Whether `finetuned` gave out the teacher itself."""
        self._strategy = strategy
        self._report = report
        self._teachers = TeacherStore(experiment)

    @property
    def task(self) -> PreparedTask:
        """The task with its encoded splits ``train``, ``validation`` and ``scored``."""
        return self.experiment.task

    @property
    def budget(self) -> Budget:
        """What every strategy gets alike."""
        return self.experiment.budget

    @property
    def params(self) -> Params:
        """The strategy's parameters."""
        return self._strategy.params

    def base(self) -> PreTrainedModel:
        """Return the base model with a fresh head for the task."""
        return self._load(self.experiment.base.path, self.params, self.seed)

    def student(self, params: StudentParams) -> PreTrainedModel:
        """Return the untrained student that `params` describes."""
        start = self.base()
        if params.init == "teacher" and not starts_fresh(params, start.config):
            self._ensure_teacher()
            self.teacher_s = self._teachers.train_s()
            start = self._load(self._teachers.folder, self.params, self.seed)
        return build_student(
            params, start=start, kind=self.experiment.kind, seed=axis_seed(self.seed, "init")
        )

    @cached_property
    def teacher(self) -> PreTrainedModel:
        """The base model fine-tuned on the task, frozen and in evaluation mode; trained at the first use by anyone."""
        self._ensure_teacher()
        self.teacher_s = self._teachers.train_s()
        model = self._teachers.load()
        nn.Module.to(model, self.experiment.device)
        model.requires_grad_(False)
        model.train(False)
        return model

    def finetuned(self) -> PreTrainedModel:
        """Return the base model fine-tuned with this cell's parameters and seed; the teacher, where they are its own."""
        if self.params == TEACHER_PARAMS and self.seed == TEACHER_SEED:
            self._ensure_teacher()
            self.is_teacher = True
            run = self._teachers.run()
            self.runs += [run] if run else []
            return self._teachers.load()
        model = self.base()
        self.train(model)
        return model

    def train(
        self, model: nn.Module, *, loss: Loss = hard_label_loss, teacher_outputs: str | None = None
    ) -> nn.Module:
        """Train `model` in place within the budget, and return it with the weights that validated best.

        Args:
            model: its parameters that require gradients are trained.
            loss: ``loss(student, batch, teacher) -> scalar``; by default the loss against the labels.
            teacher_outputs: ``"logits"`` (computed once, then nearly free), ``"all"`` (the teacher runs in every
                step; both models answer with ``hidden_states`` and ``attentions``) or None.
        """
        outputs: TeacherOutputs | None = None
        if teacher_outputs == "logits":
            self._ensure_teacher()
            outputs = self._teachers.logits()
            self.teacher_s = self._teachers.train_s() + self._teachers.logits_s()
        elif teacher_outputs == "all":
            outputs = RunningTeacher(self.teacher)
            if isinstance(model, PreTrainedModel):
                model.set_attn_implementation("eager")  # the fused kernels give no attentions
        elif teacher_outputs is not None:
            raise ValueError(f"teacher_outputs={teacher_outputs!r}: expected 'logits', 'all' or None")
        rates = self._strategy.learning_rates
        self.runs.append(self._train(model, self.params, rates, self.seed, loss, outputs))
        return model

    def _ensure_teacher(self) -> None:
        with self._teachers.lock(), torch.enable_grad():  # a strategy may first ask where gradients are off
            given = self.experiment.given_teacher
            if given is not None and not self._teachers.exists():
                self._teachers.save(load_given_teacher(given.path, self.task.task), None)
            elif not self._teachers.exists():
                model = self._load(self.experiment.base.path, TEACHER_PARAMS, TEACHER_SEED)
                run = self._train(
                    model, TEACHER_PARAMS, FINE_TUNING_RATES, TEACHER_SEED, hard_label_loss, None
                )
                self._teachers.save(model, run)
        # Whether it was trained just now or long ago, what the strategy draws next is the same.
        set_seed(axis_seed(self.seed, "strategy"))

    def _load(self, folder: Path, params: Params, seed: int) -> PreTrainedModel:
        return load_base(
            folder,
            self.experiment.kind,
            self.task.task.labels,
            seed=axis_seed(seed, "init"),
            dropout=params.dropout,
        )

    def _train(
        self,
        model: nn.Module,
        params: Params,
        rates: Mapping[TaskKind, float],
        seed: int,
        loss: Loss,
        teacher_outputs: TeacherOutputs | None,
    ) -> TrainingRun:
        kind = self.experiment.kind
        schedule = Schedule(
            steps=self.budget.steps_for(kind, self.task.train_examples),
            batch_size=self.budget.batch_size[kind],
            learning_rate=params.learning_rate or rates[kind],
            evaluations=self.budget.evaluations,
            data_seed=axis_seed(seed, "data"),
            dropout_seed=axis_seed(seed, "dropout"),
        )
        phase = "training" if params is self.params else "training the teacher"
        with scratch_folder(self.experiment.results) as scratch:
            return train(
                model,
                self.task.train,
                self.experiment.collate,
                params=params,
                schedule=schedule,
                validate=self._validation_score,
                scratch=scratch,
                loss=loss,
                teacher_outputs=teacher_outputs,
                report=lambda step, steps, value: self._report(phase, step, steps, value),
            )

    def _validation_score(self, model: nn.Module) -> float:
        rows = self.task.validation
        answers = predict(model, rows, self.experiment.collate, device=self.experiment.device)
        return get_metric(self.task.task.metric).of(answers, self.task.task.labels)
