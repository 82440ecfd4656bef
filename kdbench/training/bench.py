"""Implement the bench of a cell: a strategy's data, base model, students, teacher and training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from kdbench.api.bench import Batch, Keep, Loss, TeacherOutput, TeacherOutputs
from kdbench.api.params import Params, StudentParams, default_rate, params_of
from kdbench.api.strategy import Strategy
from kdbench.api.task import TaskKind
from kdbench.budgets import Budget
from kdbench.data import PreparedTask
from kdbench.data.preparing import without_labels
from kdbench.data.transfer import read_transfer_set, sample_examples
from kdbench.errors import UsageError
from kdbench.evaluation.thresholds import with_thresholds_chosen
from kdbench.models.build import build_student, load_base, starts_fresh
from kdbench.models.external_teacher import load_external_teacher
from kdbench.models.foreign import load_config
from kdbench.training.answers import AnswerTeacher
from kdbench.training.cached_outputs import STATES_LIMIT_BYTES, LogitsByRow, states_bytes
from kdbench.training.callbacks import Trackers
from kdbench.training.experiment import Experiment, student_of
from kdbench.training.label_weighting import weighted_kind
from kdbench.training.predict import join_rows, predict, row_logits
from kdbench.training.teacher import TEACHER_PARAMS, RunningTeacher, TeacherStore, teacher_rate
from kdbench.training.trainer import Schedule, TrainingRun, hard_label_loss, train
from kdbench.utils.files import scratch_folder
from kdbench.utils.system import Report, Seconds, axis_seed


class TrainingBench:
    """The bench of one cell: implements `kdbench.Bench`, which documents it, and holds what the cell's record needs."""

    def __init__(
        self,
        experiment: Experiment,
        strategy: Strategy,
        seed: int,
        report: Report,
        fitted: nn.Module | None = None,
        data: PreparedTask | None = None,
    ) -> None:
        self.experiment = experiment.for_student(student_of(strategy))
        self._data = data
        """What the strategy trains on, where that is not what the teacher was trained on."""
        self.seed = seed
        self.own_tokenizer = self.experiment is not experiment
        """Whether the model is deployed with a tokenizer other than the base model's."""
        self.row: str | None = None
        """The name of the board row that this cell belongs to; trackers report its training under this name."""
        self.report = report
        """Reports the progress of a phase of this cell."""
        self.runs: list[TrainingRun] = []
        """The training loops that this cell ran, without the teacher's."""
        self.teacher_cost = Seconds(0.0, 0.0)
        """What was spent on the teacher and its outputs, if this cell has used them."""
        self.is_teacher = False
        """Whether `finetuned` returned the teacher itself."""
        self.answers_used: set[int] = set()
        """The answers that this cell trained on, by their index, where the teacher is a file of answers."""
        self.unlabelled_examples = 0
        """The number of distinct unlabelled examples that this cell trained on."""
        self._unlabelled: set[int] = set()
        self.task_bytes: int | None = None
        """Bytes that one more task adds, set where a joint strategy shares one encoder; otherwise the model tells."""
        self._outputs_cost: dict[str, Seconds] = {}
        """What each of the teacher's cached outputs took, if this cell has used it."""
        self._fitted = fitted
        self._strategy = strategy
        self._teachers = TeacherStore(self.experiment, seed)
        self._texts: list[tuple[datasets.Dataset, datasets.Dataset]] = []
        """The texts that were read besides the task's, in the word pieces of the student and of the teacher."""
        self._drawn_from: datasets.Dataset | None = None
        self._drawn = 0
        """The rows that the latest training loop drew from, and how many batches; the next stage continues there."""

    @property
    def task(self) -> PreparedTask:
        return self._data or self.experiment.task

    @cached_property
    def kind(self) -> TaskKind:
        """The task's kind, with the label loss that the strategy's parameters ask for."""
        return weighted_kind(self.experiment.kind, self.params, self.task)

    @property
    def budget(self) -> Budget:
        return self.experiment.budget

    @property
    def strategy(self) -> Strategy:
        """The strategy that it is the bench of."""
        return self._strategy

    @property
    def params(self) -> Params:
        return self._strategy.params

    @property
    def steps(self) -> int:
        return self.budget.steps_for(self.kind, self.task.train_examples)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.experiment.tokenizer

    @property
    def device(self) -> torch.device:
        return self.experiment.device

    def collate(self, rows: Sequence[Mapping[str, Any]]) -> Batch:
        return self.experiment.collate(rows)

    def axis_seed(self, axis: str) -> int:
        return axis_seed(self.seed, axis)

    def base(self) -> PreTrainedModel:
        return self._load(self.experiment.base.path, self.params, self.seed)

    def fitted(self) -> nn.Module:
        if self._fitted is None:
            raise TypeError("only a transform has a model before it")
        return self._fitted

    def replace_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.experiment = self.experiment.with_tokenizer(tokenizer)
        self.own_tokenizer = True

    def student(self, params: StudentParams) -> PreTrainedModel:
        folder = self.experiment.base.path
        if student_of(self._strategy) is not None:
            return self.base()
        if params.init == "teacher" and not starts_fresh(params, load_config(folder)):
            self._check_teacher_is_model("its student starts from the teacher's layers; set init=base")
            if self.experiment.teacher_has_own_ids:
                raise UsageError(
                    f"strategy {self._strategy.name!r}: the layers of the teacher {self.experiment.of_teacher.base.name} belong to its own word "
                    "pieces; leave init=teacher out, so that the student starts from the base model"
                )
            self._ensure_teacher()
            self._charge_teacher()
            folder = self._teachers.folder
        start = self._load(folder, self.params, self.seed)
        return build_student(params, start=start, kind=self.kind, seed=axis_seed(self.seed, "init"))

    @cached_property
    def teacher(self) -> PreTrainedModel:
        self._check_teacher_is_model("it needs the teacher's weights")
        self._ensure_teacher()
        self._charge_teacher()
        model = self._teachers.load()
        nn.Module.to(model, self.experiment.device)
        model.requires_grad_(False)
        model.train(False)
        return model

    def teacher_embeddings(self) -> Tensor:
        if self.experiment.other_splits is not None:
            raise UsageError(
                f"strategy {self._strategy.name!r}: the teacher {self.experiment.of_teacher.base.name} has no embeddings of the "
                f"word pieces of {self.experiment.base.name}; leave augmentation and init=teacher out"
            )
        embeddings: Any = self.teacher.get_input_embeddings()
        table: Tensor = embeddings.weight.detach().float()
        if not self.experiment.teacher_has_own_ids:
            return table
        ids = torch.from_numpy(self.experiment.teacher_ids).to(table.device)
        return table[ids] * (ids >= 0)[:, None]  # a piece that the teacher lacks is in no text

    def finetuned(self) -> PreTrainedModel:
        """Return the base model fine-tuned for as many steps as the teacher, with this cell's parameters.

        With default parameters it is the teacher itself, unless that is a file of answers.
        """
        if not params_of(self.params, Params):
            self._ensure_teacher()
            self.is_teacher = self.experiment.answers is None
            run = self._teachers.run()
            self.runs += [run] if run else []
            if self.experiment.teacher_has_own_ids:
                self.replace_tokenizer(self.experiment.of_teacher.tokenizer)
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
        rate_of: Callable[[str], float] | None = None,
    ) -> nn.Module:
        if keep not in ("best", "last"):
            raise ValueError(f"keep={keep!r}: expected 'best' or 'last'")
        if teacher_outputs is None and loss is not None:
            teacher_outputs = self._strategy.teacher_outputs
        rows = self.task.train if rows is None else rows
        schedule = self.schedule(share, learning_rate)
        batches = self._draw_batches(rows, schedule)
        if self._answers is not None and teacher_outputs == "logits":
            self.answers_used |= self._answers.used(_drawn(rows, batches))
        used_rows = rows  # all of train, so that all strategies share the teacher's cached logits
        if rows is not self.task.train:
            used_rows = _drawn(rows, batches)
            self._unlabelled |= set(used_rows["example"][:]) - set(self.task.train["example"][:])
            self.unlabelled_examples = len(self._unlabelled)
        self.runs.append(
            self._train(
                model,
                schedule,
                params=self.params,
                rows=rows,
                phase="training",
                validate=self.validation_score if keep == "best" else None,
                loss=loss or hard_label_loss(lambda batch: self.kind),
                teacher_outputs=self._teacher_outputs(
                    teacher_outputs, model, used_rows, drawn=sum(map(len, batches))
                ),
                extra=extra,
                after_step=after_step,
                rate_of=rate_of,
                batches=batches,
            )
        )
        return model

    def _teacher_outputs(
        self,
        requested: TeacherOutput | Literal["none"] | None,
        model: nn.Module,
        rows: datasets.Dataset,
        *,
        drawn: int,
    ) -> TeacherOutputs | None:
        """Return the teacher's outputs on `rows`, of which `drawn` are read in all; `model` will return the same."""
        if requested in ("none", None):
            return None
        if requested == "logits":
            return self.teacher_logits(rows)
        self._check_teacher_is_declared()
        if requested not in ("hidden_states", "attentions"):
            raise ValueError(
                f"teacher_outputs={requested!r}: expected 'logits', 'hidden_states', 'attentions' or 'none'"
            )
        self._check_teacher_is_model(f"it needs the teacher's {requested.replace('_', ' ')}")
        if self.experiment.other_splits is not None:
            raise UsageError(
                f"strategy {self._strategy.name!r}: {self.experiment.other_splits}; take one that learns from logits"
            )
        if requested == "attentions" and isinstance(model, PreTrainedModel):
            model.set_attn_implementation("eager")  # fused kernels return no attentions
        read_again = drawn >= 2 * len(rows)
        if requested == "hidden_states" and read_again and self._states_fit(rows):
            states, seconds = self._teachers.states(rows, self.teacher_logits(rows))
            self._charge_teacher(states=seconds)
            return states
        return RunningTeacher(self.teacher, self.experiment, attentions=requested == "attentions")

    def _states_fit(self, rows: datasets.Dataset) -> bool:
        self._ensure_teacher()
        return states_bytes(rows, load_config(self._teachers.folder)) <= STATES_LIMIT_BYTES

    def _draw_batches(self, rows: datasets.Dataset, schedule: Schedule) -> list[list[int]]:
        """Return the batches of a training loop; a second stage on the same rows continues where the first ended."""
        taken = self._drawn if self._drawn_from is rows else 0
        self._drawn_from, self._drawn = rows, taken + schedule.steps
        return schedule.batches(rows["length"], taken=taken)

    def schedule(
        self, share: float = 1.0, learning_rate: float | None = None, *, of_teacher: bool = False
    ) -> Schedule:
        """Return the schedule by which `train`, or the training of the teacher, trains on this task."""
        params = TEACHER_PARAMS if of_teacher else self.params
        rate = (
            teacher_rate(self.experiment)
            if of_teacher
            else params.learning_rate or default_rate(self._strategy.learning_rates, self.kind)
        )
        return Schedule(
            steps=max(1, round(share * self.steps)),
            batch_size=self.budget.batch_size_for(self.kind),
            learning_rate=learning_rate or rate,
            evaluations=self.budget.evaluations,
            patience=params.patience or self.budget.patience,
            data_seed=axis_seed(self.seed, "data"),
            dropout_seed=axis_seed(self.seed, "dropout"),
        )

    def validation_score(self, model: nn.Module) -> float:
        """Return the headline metric of `model` on the validation split, in training precision; higher is better."""
        return self._validation_score(model, self.experiment, self.task.validation)

    def _validation_score(self, model: nn.Module, experiment: Experiment, rows: datasets.Dataset) -> float:
        predictions = predict(
            model,
            rows,
            experiment.collate,
            device=experiment.device,
            precision=experiment.precision,
        )
        return experiment.metric.of(with_thresholds_chosen(predictions), self.task.task.labels)

    def teacher_logits(self, rows: datasets.Dataset) -> LogitsByRow:
        self._check_teacher_is_declared()
        if self._answers is not None:
            return self._answers.logits(rows)
        self._ensure_teacher()
        outputs, seconds = self._teachers.logits(rows, self._texts)
        self._charge_teacher(logits=seconds)
        return outputs

    def outputs(
        self, model: nn.Module, rows: datasets.Dataset, *, phase: str
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
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
        predictions = join_rows(rows, logits, labels, self.kind, pooling=self.budget.window_pooling)
        return self.experiment.metric.of(with_thresholds_chosen(predictions), self.task.task.labels)

    def count_fit(
        self, seconds: float, rows: datasets.Dataset, score: float, cpu_seconds: float | None = None
    ) -> None:
        self.runs.append(
            TrainingRun(
                train_s=seconds,
                train_cpu_s=cpu_seconds,
                steps=0,
                examples=len(rows),
                tokens=sum(rows["length"]),
                best_score=score,
            )
        )

    def sample(self, rows: datasets.Dataset, limit: int) -> datasets.Dataset:
        return sample_examples(rows, limit)

    def answered(self, rows: datasets.Dataset) -> datasets.Dataset:
        return self._required_answers().answered(rows)

    def answered_texts(self) -> datasets.Dataset:
        return self._required_answers().further

    def read_texts(self, path: Path, limit: int) -> datasets.Dataset:
        self._check_teacher_is_model(
            f"{path} has texts for it to answer; give their answers, and set transfer=answered"
        )

        def read(tokenizer: PreTrainedTokenizerBase) -> datasets.Dataset:
            return read_transfer_set(
                path,
                self.task,
                tokenizer,
                max_length=self.budget.max_length,
                stride=self.budget.window_stride,
                limit=limit,
            )

        rows = read(self.tokenizer)
        if self.experiment.teacher_has_own_ids:
            self._texts.append((rows, read(self.experiment.of_teacher.tokenizer)))
        return rows

    def hide_labels(self, rows: datasets.Dataset) -> datasets.Dataset:
        return without_labels(rows, self.kind)

    @property
    def _answers(self) -> AnswerTeacher | None:
        return self.experiment.answer_teacher

    def _required_answers(self) -> AnswerTeacher:
        if self._answers is None:
            raise UsageError(
                f"strategy {self._strategy.name!r}: the teacher is a model; name a file of answers with --teacher"
            )
        return self._answers

    def _check_teacher_is_model(self, needed: str) -> None:
        if self._answers is not None:
            raise UsageError(
                f"strategy {self._strategy.name!r}: the teacher is a file of answers, not a model, and {needed}"
            )

    def _charge_teacher(self, **outputs: Seconds) -> None:
        self._outputs_cost.update(outputs)
        self.teacher_cost = sum(self._outputs_cost.values(), self._teachers.training())

    def _check_teacher_is_declared(self) -> None:
        if not any(stage.uses_teacher() for stage in self._strategy.stages):
            raise TypeError(
                f"strategy {self._strategy.name!r} learns from the teacher's outputs; set teacher_outputs on its class, to "
                "'logits' say, so that its cells wait for the teacher and boards say that it uses one"
            )

    def _ensure_teacher(self) -> None:
        if self.own_tokenizer and self.experiment.origin is None:
            raise UsageError(
                f"strategy {self._strategy.name!r} needs the teacher, which cannot read the trimmed vocabulary of the "
                "stages before it; put it before them"
            )
        with self._teachers.lock(), torch.enable_grad():  # a strategy's first use may be inside no_grad
            self._teachers.discard_damaged()
            if not self._teachers.exists():
                self._make_teacher()
        # The strategy's next random draws must not depend on whether the teacher was trained just now.
        set_seed(axis_seed(self.seed, "strategy"))

    def _make_teacher(self) -> None:
        """Train the teacher, or take the one that the user provides."""
        external, own = self.experiment.external_teacher, self.experiment.of_teacher
        if external is not None and not self.experiment.trains_teacher:
            self._teachers.save(load_external_teacher(external.path, own.task.task), None)
            return
        model = self._load(own.base.path, TEACHER_PARAMS, self.seed)
        run = self._train(
            model,
            self.schedule(self.budget.teacher_factor, of_teacher=True),
            params=TEACHER_PARAMS,
            rows=own.task.train,
            collate=own.collate,
            phase="training the teacher",
            validate=lambda model: self._validation_score(model, own, own.task.validation),
        )
        self._teachers.save(model, run)

    def _load(self, folder: Path, params: Params, seed: int) -> PreTrainedModel:
        return load_base(
            folder,
            self.kind,
            self.task.task.labels,
            seed=axis_seed(seed, "init"),
            dropout=params.dropout,
            new_layers=params.new_layers,
            fresh_head=folder != self._teachers.folder,  # its head was trained on this task
        )

    def _train(self, model: nn.Module, schedule: Schedule, *, phase: str, **settings: Any) -> TrainingRun:
        with scratch_folder(self.experiment.results) as scratch:
            return train(
                model,
                settings.pop("rows"),
                settings.pop("collate", self.experiment.collate),
                schedule=schedule,
                scratch=scratch,
                report=lambda step, steps, value: self.report(phase, step, steps, value),
                trackers=self.trackers(phase),
                **settings,
            )

    def trackers(self, phase: str) -> Trackers | None:
        """Return the experiment trackers for the next training loop; None if the cell's row has no name."""
        if self.row is None:
            return None
        loop = (self.row, f"seed {self.seed}", f"{phase} {len(self.runs) + 1}")
        folder = self.experiment.results / "tensorboard"
        labels = self.budget.labels
        task = self.task.task.name if labels is None else f"{self.task.task.name}, {labels} labels"
        return Trackers(folder, (task, *loop), self.experiment.report_to)


def _drawn(rows: datasets.Dataset, batches: Sequence[Sequence[int]]) -> datasets.Dataset:
    """Return those of `rows` that some batch has."""
    return rows.select(sorted({row for batch in batches for row in batch}))
