"""Run the latency phase of a task: all of its models answer the same inputs in the same rounds, and nothing else runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone

import torch
from pydantic import BaseModel

from kdbench.api.spec import StrategySpec
from kdbench.budgets import BackEnd, Budget
from kdbench.config import RunConfig
from kdbench.data import load_task
from kdbench.measure.environment import describe_environment
from kdbench.measure.stopwatch import BusyMeter, busy_warning, texts_of, time_tokenizers
from kdbench.measure.timed_models import TimedRow, drawn_rows, export_cells
from kdbench.measure.timing import Candidate, Measured, time_together
from kdbench.measure.timing_summary import MIN_PAIRS, repeatability, repeatability_warning
from kdbench.models.onnx import OnnxModel
from kdbench.results.timings import BackEndTiming, ModelTiming, Timing, Tokenization, put_timing
from kdbench.training.bench import TrainingBench
from kdbench.training.experiment import Experiment, OpenedExperiment, open_experiment
from kdbench.training.teacher import TeacherStore
from kdbench.utils.sealed import damage
from kdbench.utils.system import Report

_TEACHER = "teacher"
_SECOND_TEACHER = "teacher again"
"""The teacher, loaded a second time under another name: its speed-up is 1 up to noise."""


class TimingOrder(BaseModel):
    """The arguments of the latency phase of one task."""

    config: RunConfig
    task: str
    keys: list[str]
    """The cells whose artifacts are timed."""
    teacher: str | None
    """The key among them whose artifact is the teacher itself; without one, the teacher is loaded in addition."""
    threads: int


def time_task(argument: str, report: Report) -> None:
    """Time the artifacts of one task together with its teacher, and store the result."""
    order = TimingOrder.model_validate_json(argument)
    opened = open_experiment(order.config, order.task)
    experiment = opened.experiment
    if order.teacher is None:
        mend_teacher(opened, report)
    with torch_threads(order.threads):
        timing = _Phase(order, experiment, report).run()
    put_timing(order.config.results, timing)


def mend_teacher(opened: OpenedExperiment, report: Report) -> None:
    """Train the teacher again if it is damaged: no cell may be left that would."""
    store = TeacherStore(opened.experiment, seed=0)
    if store.folder.is_dir() and damage(store.folder):
        name = next(name for name, known in opened.registry.strategies.items() if known.item.is_teacher_row)
        strategy = opened.registry.strategy(StrategySpec(name=name))
        TrainingBench(opened.experiment, strategy, 0, report).finetuned()


class _Phase:
    """The latency phase of one task.

    It first times every artifact in the back end that it is made for, and the teacher a second time; then, where the
    budget includes ONNX Runtime, every PyTorch artifact as a graph. The teacher in PyTorch takes part in all rounds, so
    that all speed-ups have the same baseline.
    """

    def __init__(self, order: TimingOrder, experiment: Experiment, report: Report) -> None:
        self._order = order
        self._experiment = experiment
        self._budget = experiment.budget
        self._report = report
        self._rows = {key: TimedRow.of_cell(experiment, key) for key in order.keys}
        self._teacher = self._rows[order.teacher] if order.teacher else TimedRow.of_teacher(experiment)
        self._meter = BusyMeter()

    def run(self) -> Timing:
        """Return the timing of the task."""
        deployed = self._time_deployed()
        reference = deployed[self._order.teacher or _TEACHER].calls_ms
        inputs = len(drawn_rows(self._experiment))
        noise = repeatability(reference, deployed[_SECOND_TEACHER].calls_ms, inputs)
        exported = self._time_exported()
        tokenizations = self._time_tokenizers()
        warnings = [busy_warning(self._meter.share), repeatability_warning(noise)]
        return Timing(
            task=self._order.task,
            budget=self._budget.name,
            model=self._experiment.base.name,
            threads=self._order.threads,
            batch_size=1,
            rounds=self._budget.latency_rounds,
            settings=self._budget.latency_settings(),
            method="hot",
            environment=describe_environment(),
            finished_at=datetime.now(timezone.utc),
            repeatability=noise,
            busy_share=self._meter.share,
            warning="; ".join(filter(None, warnings)) or None,
            models=tuple(
                ModelTiming(
                    key=key,
                    back_ends=(deployed[key].timing, *exported.get(key, ())),
                    tokenization=tokenizations[key],
                    calls_ms=tuple(round(float(ms), 4) for ms in deployed[key].calls_ms),
                )
                for key in self._order.keys
            ),
        )

    def _time_deployed(self) -> dict[str, Measured]:
        """Time every artifact as it is deployed, and the teacher loaded a second time."""
        rows = {**self._rows, _SECOND_TEACHER: self._teacher}
        if self._order.teacher is None:
            rows[_TEACHER] = self._teacher
        candidates = {}
        for name, row in rows.items():
            candidates[name] = row.candidate()
            self._report("loading", len(candidates), len(rows), None)
        # An artifact that is a graph is timed on the grid like all others that are timed as they were saved.
        gridded = set(self._rows) if BackEnd.TORCH in self._budget.latency_grid else set()
        return self._time(candidates, self._order.teacher or _TEACHER, gridded, self._budget)

    def _time_exported(self) -> dict[str, list[BackEndTiming]]:
        """Time every PyTorch artifact as a graph; the result says why where that is not possible."""
        back_ends: list[BackEnd] = [
            back_end for back_end in self._budget.latency_back_ends if back_end is not BackEnd.TORCH
        ]
        if not back_ends:
            return {}
        candidates = {_TEACHER: self._teacher.candidate()}
        timings: dict[str, list[BackEndTiming]] = {key: [] for key in self._rows}
        lost: dict[str, float | None] = {}
        exports = export_cells(self._order.config, self._order.task, list(self._rows), back_ends)
        for number, (key, export) in enumerate(exports):
            for back_end, made in export.made.items():
                if isinstance(made, str):
                    timings[key].append(BackEndTiming(back_end=back_end, device="cpu", reason=made))
                else:
                    candidates[f"{key} {back_end}"] = self._rows[key].graph(OnnxModel(*made))
            lost[f"{key} {BackEnd.ONNXRUNTIME_INT8}"] = export.lost
            self._report("exporting", number + 1, len(self._rows), None)
        gridded = {
            name for name, model in candidates.items() if model.back_end in self._budget.latency_grid
        } - {_TEACHER}
        # For back ends beside the artifact's own only the median is reported, which takes fewer calls.
        fewer = {
            "latency_rounds": max(MIN_PAIRS, self._budget.latency_rounds // 3),
            "latency_seconds": self._budget.latency_seconds / 3,
        }
        budget = self._budget.model_copy(update=fewer)
        for name, measured in self._time(candidates, _TEACHER, gridded, budget).items():
            if name != _TEACHER:
                timing = measured.timing.model_copy(update={"score_lost": lost.get(name)})
                timings[name.split()[0]].append(timing)
        for of_cell in timings.values():
            of_cell.sort(key=lambda timing: back_ends.index(timing.back_end))
        return timings

    def _time(
        self, candidates: Mapping[str, Candidate], reference: str, gridded: Collection[str], budget: Budget
    ) -> dict[str, Measured]:
        with self._meter:
            return time_together(
                candidates, reference=reference, budget=budget, gridded=gridded, report=self._report
            )

    def _time_tokenizers(self) -> dict[str, Tokenization]:
        """Time the tokenizer of each cell; cells that share a tokenizer share its time."""
        examples = load_task(self._experiment.task.task, self._order.config.data).splits[
            self._experiment.task.task.eval_split
        ]
        scored = self._experiment.task.scored
        texts = [texts_of(examples[scored[int(place)]["example"]]) for place in drawn_rows(self._experiment)]
        tokenizers = {key: row.experiment.tokenizer for key, row in self._rows.items()}
        distinct = {str(id(tokenizer)): tokenizer for tokenizer in tokenizers.values()}
        timed = time_tokenizers(
            distinct,
            texts,
            max_length=self._budget.max_length,
            rounds=self._budget.latency_rounds,
            report=self._report,
        )
        return {key: timed[str(id(tokenizer))] for key, tokenizer in tokenizers.items()}


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Set the thread count of torch, and of ONNX Runtime sessions created in the block.

    In the phase's own process the environment sets it before any library is loaded; in other processes it does not.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
