"""Run the latency phase of a task: in several fresh processes, all of its models answer the same inputs in the same rounds.

Nothing else runs meanwhile. `prepare_timing` exports the models, `time_process` times all of them in one process, and the last
one summarizes what all have measured.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from kdbench.api.spec import StrategySpec
from kdbench.budgets import BackEnd, Budget
from kdbench.config import RunConfig
from kdbench.data import load_task
from kdbench.measure.environment import describe_environment
from kdbench.measure.exports import export_cells
from kdbench.measure.stopwatch import BusyMeter, busy_warning, texts_of, time_tokenizers
from kdbench.measure.summarized_task import Prepared, ProcessCalls, back_end_in, key_of, name_of, summarized
from kdbench.measure.timed_models import TimedRow, drawn_rows, inputs_of_process
from kdbench.measure.timing import Candidate, measure_energy, time_batches, time_together
from kdbench.models.artifacts import artifact_class
from kdbench.models.compiled import compiled_in
from kdbench.models.onnx import OnnxModel
from kdbench.results.paths import CellFiles
from kdbench.results.timings import Tokenization, put_timing, timing_path
from kdbench.training.bench import TrainingBench
from kdbench.training.experiment import Experiment, OpenedExperiment, open_experiment
from kdbench.training.teacher import TeacherStore
from kdbench.utils.files import folder_bytes, temporary_beside
from kdbench.utils.sealed import damage
from kdbench.utils.system import Report, axis_seed, usable_cores

TEACHER = "teacher"
"""The name of the teacher where it is not one of the rows."""
SECOND_TEACHER = "teacher-again"
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
    groups: int = 1
    """Where the memory does not hold all models, each process is several, which time a part of them beside the teacher."""
    process: int = 0
    """For `time_process`, its number."""

    @property
    def processes(self) -> int:
        """How many processes time models."""
        return self.config.resolved_budget.latency_processes * self.groups

    def timed_by_process(self) -> list[str]:
        """Return the keys that this process times: the teacher's, and every so many-th of the others in its own order."""
        repetition, group = divmod(self.process, self.groups)
        others = [key for key in self.keys if key != self.teacher]
        order = np.random.default_rng(axis_seed(repetition, "latency groups")).permutation(len(others))
        chosen = {others[place] for place in order[group :: self.groups]}
        return [key for key in self.keys if key == self.teacher or key in chosen]


def groups_needed(artifacts: Iterable[Path], budget: Budget, memory_bytes: int) -> int:
    """Return into how many groups the models have to be split for each to fit into the memory."""
    exported = sum(_RELATIVE_BYTES[back_end] for back_end in budget.latency_back_ends)
    needed = sum(folder_bytes(artifact) for artifact in artifacts) * (1 + exported) * _OVERHEAD
    return max(1, math.ceil(needed / (_MEMORY_SHARE * memory_bytes)))


_RELATIVE_BYTES = {
    BackEnd.TORCH: 0.0,
    BackEnd.TORCH_COMPILE: 1.0,
    BackEnd.ONNXRUNTIME: 1.0,
    BackEnd.ONNXRUNTIME_INT8: 0.3,
    BackEnd.OPENVINO: 2.0,
}
"""The memory of an export, relative to the artifact."""
_OVERHEAD = 1.5
"""Memory in use by loaded models, relative to their files."""
_MEMORY_SHARE = 0.7
"""Of the memory that is available."""


def prepare_timing(argument: str, report: Report) -> None:
    """Export the artifacts to the back ends that the budget names, and time their tokenizers."""
    order = TimingOrder.model_validate_json(argument)
    opened = open_experiment(order.config, order.task)
    if order.teacher is None:
        mend_teacher(opened, report)
    task = _TimedTask(order, opened.experiment)
    shutil.rmtree(task.folder, ignore_errors=True)
    task.folder.mkdir(parents=True)
    with torch_threads(task.order.threads):
        exports = task.export(report)
        tokenizations = task.time_tokenizers(report)
    prepared = Prepared(
        graphs={name: graph for name, graph in exports.items() if isinstance(graph, tuple)},
        compiled=[name for name, graph in exports.items() if graph is None],
        reasons={name: reason for name, reason in exports.items() if isinstance(reason, str)},
        lost=task.lost,
        export_s=task.export_s,
        tokenizations=tokenizations,
    )
    (task.folder / "prepared.json").write_text(prepared.model_dump_json())


def time_process(argument: str, report: Report) -> None:
    """Time all models and back ends together in this process; the last one stores the timing of the task."""
    task = _TimedTask.of(argument)
    with torch_threads(task.order.threads), compiled_in(task.folder / "compiled"):
        found = task.measure(report)
    (task.folder / f"process-{task.order.process}.json").write_text(found.model_dump_json())
    if task.order.process == task.order.processes - 1:
        _store(task, report)


def _store(task: _TimedTask, report: Report) -> None:
    """Summarize what the processes measured, and store it."""
    order, budget = task.order, task.experiment.budget
    processes = [
        ProcessCalls.model_validate_json((task.folder / f"process-{process}.json").read_text())
        for process in range(order.processes)
    ]
    report("summarizing", 0, 1, None)
    others, total = (sum(found.busy_s[place] for found in processes) for place in (0, 1))
    busy_share = others / total if total > 0 else None
    timing = summarized(
        processes,
        task.prepared(),
        keys=order.keys,
        teacher=order.teacher or TEACHER,
        again=SECOND_TEACHER,
        inputs=len(task.inputs),
        task=order.task,
        budget=budget,
        model=task.experiment.base.name,
        threads=order.threads,
        environment=describe_environment(),
        finished_at=datetime.now(timezone.utc),
        busy_share=busy_share,
        warning=busy_warning(busy_share),
    )
    put_timing(order.config.results, timing)
    shutil.rmtree(task.folder, ignore_errors=True)


def mend_teacher(opened: OpenedExperiment, report: Report) -> None:
    """Train the teacher again if it is damaged: no cell may be left that would."""
    store = TeacherStore(opened.experiment, seed=0)
    if store.folder.is_dir() and damage(store.folder):
        name = next(name for name, known in opened.registry.strategies.items() if known.item.is_teacher_row)
        strategy = opened.registry.strategy(StrategySpec(name=name))
        TrainingBench(opened.experiment, strategy, 0, report).finetuned()


class _TimedTask:
    """A task's artifacts, each in every back end, and the folder in which the parts of the phase leave their results."""

    def __init__(self, order: TimingOrder, experiment: Experiment) -> None:
        self.order = order
        self.experiment = experiment
        self.folder = temporary_beside(
            timing_path(order.config.results, order.task, experiment.budget.name, experiment.base.name)
        )
        self.inputs = inputs_of_process(experiment, order.process // order.groups)
        self.lost: dict[str, float] = {}
        self.export_s: dict[str, float] = {}
        self.rows = {key: TimedRow.of_cell(experiment, key, self.inputs) for key in order.keys}
        if order.teacher is None:
            self.rows[TEACHER] = TimedRow.of_teacher(experiment, self.inputs)
        self.teacher = order.teacher or TEACHER

    @classmethod
    def of(cls, argument: str) -> _TimedTask:
        order = TimingOrder.model_validate_json(argument)
        return cls(order, open_experiment(order.config, order.task).experiment)

    def export(self, report: Report) -> dict[str, tuple[str, dict[str, Any]] | str | None]:
        """Write the graphs of all artifacts that become some; return the file and configuration of each, or why not.

        What is compiled leaves no file. The teacher is exported to every runtime in which an artifact runs, since the artifact is compared with it there.
        """
        wanted = [
            back_end for back_end in self.experiment.budget.latency_back_ends if back_end is not BackEnd.TORCH
        ]
        orders = [(list(self.rows), wanted)] if wanted else []
        if BackEnd.ONNXRUNTIME not in wanted and self._has_graphs():
            orders.append(([self.teacher], [BackEnd.ONNXRUNTIME]))
        made = chain.from_iterable(
            export_cells(self.order.config, self.order.task, keys, back_ends, TEACHER)
            for keys, back_ends in orders
        )
        total = sum(len(keys) for keys, _ in orders)
        exports: dict[str, tuple[str, dict[str, Any]] | str | None] = {}
        for number, (key, export) in enumerate(made):
            for back_end, graph in export.made.items():
                name = name_of(key, back_end)
                exports[name] = graph if not isinstance(graph, tuple) else (name, graph[1])
                if isinstance(graph, tuple):
                    (self.folder / name).write_bytes(graph[0])
                if not isinstance(graph, str):
                    self.export_s[name] = export.seconds[back_end]
            if export.lost is not None:
                self.lost[name_of(key, BackEnd.ONNXRUNTIME_INT8)] = export.lost
            report("exporting", number + 1, total, None)
        return exports

    def _has_graphs(self) -> bool:
        """Return whether an artifact is a graph, which runs in ONNX Runtime alone."""
        artifacts = (CellFiles(self.order.config.results, key).artifact for key in self.order.keys)
        return any(issubclass(artifact_class(artifact), OnnxModel) for artifact in artifacts)

    def prepared(self) -> Prepared:
        """Return what `prepare_timing` left."""
        return Prepared.model_validate_json((self.folder / "prepared.json").read_text())

    def measure(self, report: Report) -> ProcessCalls:
        """Time every model in every back end: one by one and on the grid on one thread, in batches on all cores."""
        budget = _share(self.experiment.budget)
        candidates = self._candidates(report)
        names = {name: (candidate.back_end, candidate.device.type) for name, candidate in candidates.items()}
        emulated = {name: found for name, candidate in candidates.items() if (found := candidate.emulated())}
        process, cores = self.order.process, usable_cores()
        meter = BusyMeter()
        with meter:
            timed = time_together(
                candidates,
                reference=self._reference(candidates),
                budget=budget,
                gridded=self._gridded(candidates),
                report=report,
                seed=process,
            )
        energy_reason: str | None = "this budget times no batches on all cores"
        if budget.latency_batch_rounds:
            candidates.pop(SECOND_TEACHER)
            with torch_threads(cores), meter:
                for name, candidate in candidates.items():
                    candidates[name] = candidate.with_current_threads()
                rounds = budget.latency_batch_rounds
                time_batches(
                    candidates, threads=cores, rounds=rounds, report=report, timed=timed, seed=process
                )
            with torch_threads(cores):
                energy_reason = measure_energy(candidates, threads=cores, report=report, timed=timed)
        return ProcessCalls.of(timed, names, emulated, meter, energy_reason)

    def _candidates(self, report: Report) -> dict[str, Candidate]:
        keys = {*self.order.timed_by_process(), self.teacher}
        prepared = self.prepared()
        graphs = {name: graph for name, graph in prepared.graphs.items() if key_of(name) in keys}
        compiled = [name for name in prepared.compiled if key_of(name) in keys]
        candidates: dict[str, Candidate] = {}
        total = len(keys) + len(graphs) + len(compiled) + 1
        for key, row in self.rows.items():
            if key not in keys:
                continue
            candidate = row.candidate()
            candidates[name_of(key, candidate.back_end)] = candidate
            report("loading", len(candidates), total, None)
        candidates[SECOND_TEACHER] = self.rows[self.teacher].candidate()
        for name, (file, config) in graphs.items():
            path = self.folder / file
            candidates[name] = self.rows[key_of(name)].graph(path, config, back_end_in(name))
            report("loading", len(candidates), total, None)
        for name in compiled:
            candidates[name] = self.rows[key_of(name)].compiled()
            report("loading", len(candidates), total, None)
        return candidates

    def _reference(self, candidates: Mapping[str, Candidate]) -> str:
        return next(name for name in candidates if key_of(name) == self.teacher)

    def _gridded(self, candidates: Mapping[str, Candidate]) -> Collection[str]:
        """Return what is timed on the grid: artifacts as they were saved, the budget's back ends, and the teacher in each."""
        back_ends = self.experiment.budget.latency_grid
        if not back_ends:
            return ()
        firsts = {key_of(name): name for name in reversed(list(candidates))}
        native = {firsts[key] for key in self.rows if key in firsts}
        gridded = native | {name for name, one in candidates.items() if one.back_end in back_ends}
        gridded |= {name_of(self.teacher, candidates[name].back_end.runtime) for name in gridded}
        return gridded & set(candidates) - {SECOND_TEACHER}

    def time_tokenizers(self, report: Report) -> dict[str, Tokenization]:
        """Time the tokenizer of each cell; cells that share a tokenizer share its time."""
        examples = load_task(self.experiment.task.task, self.order.config.data).splits[
            self.experiment.task.task.eval_split
        ]
        scored = self.experiment.task.scored
        texts = [texts_of(examples[scored[int(place)]["example"]]) for place in drawn_rows(self.experiment)]
        tokenizers = {key: self.rows[key].experiment.tokenizer for key in self.order.keys}
        distinct = {str(id(tokenizer)): tokenizer for tokenizer in tokenizers.values()}
        timed = time_tokenizers(
            distinct,
            texts,
            max_length=self.experiment.budget.max_length,
            rounds=self.experiment.budget.latency_rounds,
            report=report,
        )
        return {key: timed[str(id(tokenizer))] for key, tokenizer in tokenizers.items()}


def _share(budget: Budget) -> Budget:
    """Return the part of the timing that one of the budget's processes does."""
    processes = budget.latency_processes
    rounds = ("latency_rounds", "latency_grid_rounds", "latency_batch_rounds")
    seconds = ("latency_seconds", "latency_grid_seconds")
    return budget.model_copy(
        update={name: -(-getattr(budget, name) // processes) for name in rounds}
        | {name: getattr(budget, name) / processes for name in seconds}
    )


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Set the thread count of torch, and of ONNX Runtime sessions created in the block.

    In the phase's own processes the environment sets it before any library is loaded; in other processes it does not.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
