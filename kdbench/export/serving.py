"""Measure how the models of a task serve requests: each in fresh processes that load it as `kdbench.load` does.

A stage of the latency phase, after the models were timed. Models serve one after the other, in an order drawn anew for each
process, and nothing else runs meanwhile.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel

from kdbench.budgets import BackEnd
from kdbench.config import RunConfig
from kdbench.data import load_task
from kdbench.data.encoding import example_numbers
from kdbench.errors import KdbenchError, described
from kdbench.export.export import manifest_of
from kdbench.export.formats import formats_of, write_model
from kdbench.export.manifest import Format, write_manifest
from kdbench.export.serve import ANSWERED, BATCH_SIZE
from kdbench.measure.serving import (
    CLIENTS,
    REQUESTS,
    ServeOrder,
    ServeReport,
    closed_loop,
    open_loop,
    rates_of,
    requests_within,
)
from kdbench.measure.stopwatch import BusyMeter, busy_warning, texts_of, usage
from kdbench.models.artifacts import load_artifact
from kdbench.models.foreign import load_tokenizer
from kdbench.results.paths import CellFiles
from kdbench.results.records import RecordStore
from kdbench.results.serving import ModelServing, Serving, Start
from kdbench.results.timings import Timing, put_timing, timing_path
from kdbench.training.experiment import Experiment, open_experiment
from kdbench.utils.files import read_json_file, scratch_folder
from kdbench.utils.system import THREAD_VARIABLES, Report, axis_seed, usable_cores


class ServingOrder(BaseModel):
    """The arguments of the stage: the models of one task, all of which were timed."""

    config: RunConfig
    task: str
    keys: list[str]
    teacher: str
    """The key among them of the teacher, whose capacity sets the rates."""
    threads: int


def serve_models(argument: str, report: Report) -> None:
    """Let every model serve, and add the result to the task's timing."""
    order = ServingOrder.model_validate_json(argument)
    experiment = open_experiment(order.config, order.task).experiment
    path = timing_path(order.config.results, order.task, experiment.budget.name, experiment.base.name)
    timing, problem = read_json_file(Timing, path)
    if timing is None:
        raise KdbenchError(f"the timing {path} cannot be read: {problem}")
    with scratch_folder(order.config.results / "timings") as folder:
        back_ends = {model.key: model.back_ends[0].back_end for model in timing.models}
        serving = _Serving(order, experiment, folder).measure(back_ends, report)
    put_timing(order.config.results, timing.model_copy(update={"serving": serving}))


def export_as_saved(experiment: Experiment, key: str, folder: Path) -> None:
    """Export the model of the cell `key` in the back end that it is made for.

    It is written for transformers, where that has its class, else for kdbench; a graph stays the graph that it is.

    Raises:
        KdbenchError: the model is damaged.
    """
    files = CellFiles(experiment.results, key)
    files.check_model()
    record = RecordStore(experiment.results).get(key)
    assert record is not None  # what was timed has one
    model, tokenizer = load_artifact(files.artifact), load_tokenizer(files.artifact)
    form = Format.HF if Format.HF in formats_of(model) else Format.KDBENCH
    write_model(model, form, files.artifact, folder, tokenizer, {}, experiment.task.task)
    write_manifest(manifest_of(form, record, files, experiment.task, int(tokenizer.model_max_length)), folder)


_T = TypeVar("_T")


@dataclass(frozen=True)
class _Started:
    """What one fresh process reported, and the seconds until its first answer as seen from here."""

    report: ServeReport
    first_answer_s: float

    @property
    def start(self) -> Start:
        of = self.report
        return Start(
            python_s=max(0.0, self.first_answer_s - of.imports_s - of.load_s - of.answer_s),
            **of.model_dump(include=set(Start.model_fields) - {"python_s"}),
        )


class _Serving:
    """Serves the models of one task."""

    def __init__(self, order: ServingOrder, experiment: Experiment, folder: Path) -> None:
        self._order = order
        self._experiment = experiment
        self._folder = folder
        self._texts = _texts(experiment, order.config)
        self._failed: dict[str, str] = {}
        """Why a model serves nothing: that costs the others nothing."""

    def measure(self, back_ends: Mapping[str, BackEnd], report: Report) -> Serving:
        """Return how the models serve; `back_ends` has that of each."""
        keys, processes = self._order.keys, self._experiment.budget.serving_processes
        for number, key in enumerate(keys):
            self._trying(key, partial(export_as_saved, self._experiment, key, self._folder / key))
            report("exporting", number + 1, len(keys), None)
        if self._order.teacher in self._failed:
            raise KdbenchError(
                f"the teacher, whose capacity sets the rates: {self._failed[self._order.teacher]}"
            )
        meter = BusyMeter(lambda: usage(with_children=True))
        with meter:
            alone = self._serve(self._order.teacher, 0, clients=(1,), rates_per_s=())
            capacity = 1000 / float(np.mean(alone.report.closed[0].latencies_ms))
            rates = rates_of(capacity)
            started: dict[str, list[_Started]] = {key: [] for key in keys}
            loops: dict[str, Any] = {"rates_per_s": rates, "requests": requests_within(rates)}
            for number, (process, key) in enumerate(self._turns(processes)):
                found = self._trying(key, partial(self._serve, key, process, **loops))
                started[key] += [found] if found else []
                report("serving", number + 1, len(keys) * processes, None)
        return Serving(
            processes=processes,
            capacity_per_s=capacity,
            cores=usable_cores(),
            busy_share=meter.share,
            warning=busy_warning(meter.share, "models served requests", _BUSY),
            models=tuple(
                ModelServing(key=key, back_end=back_ends[key], reason=self._failed[key])
                if key in self._failed
                else _summarized(key, back_ends[key], rates, started[key])
                for key in keys
            ),
        )

    def _trying(self, key: str, step: Callable[[], _T]) -> _T | None:
        """Return the result of a step of the model `key`; None where it fails, or an earlier one did."""
        if key in self._failed:
            return None
        try:
            return step()
        except Exception as error:
            self._failed[key] = described(error)
            return None

    def _turns(self, processes: int) -> Iterator[tuple[int, str]]:
        keys = self._order.keys
        for process in range(processes):
            order = np.random.default_rng(axis_seed(process, "serving")).permutation(len(keys))
            yield from ((process, keys[place]) for place in order)

    def _serve(self, key: str, process: int, **loops: Any) -> _Started:
        """Serve the model `key` in a fresh process; each process has texts and arrivals of its own, all models the same.

        Raises:
            KdbenchError: the process failed.
        """
        first = process * REQUESTS % len(self._texts)
        order = ServeOrder(
            folder=self._folder / key,
            plugins=self._order.config.plugins.modules,
            texts=[*self._texts[first:], *self._texts[:first]],
            seed=process,
            report_file=self._folder / "report.json",
            **loops,
        )
        order_file = self._folder / "order.json"
        order_file.write_text(order.model_dump_json(), encoding="utf-8")
        first_answer_s = _first_answer_s(order_file, self._order.threads)
        return _Started(
            ServeReport.model_validate_json(order.report_file.read_text(encoding="utf-8")), first_answer_s
        )


_PROGRAM = (
    "import time; begun = time.perf_counter(); import sys; "
    "from kdbench.export.serve import main; main(begun, sys.argv[1])"
)


def _first_answer_s(order_file: Path, threads: int) -> float:
    """Start a fresh process that serves, wait for its end, and return the seconds from its start to its first answer."""
    environment = {
        **os.environ,
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    with tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(order_file)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process:
            assert process.stdout is not None  # it is piped
            answered = None
            for line in process.stdout:
                if line.strip() == ANSWERED:
                    answered = time.perf_counter() - started
        if process.returncode or answered is None:
            errors.seek(0)
            reason = (errors.read().strip().splitlines() or ["no reason was printed"])[-1]
            raise KdbenchError(f"the process that serves it failed: {reason}")
    return answered


_BUSY = "milliseconds and seconds are longer than they would be, and not by the same factor for all rows"


def _texts(experiment: Experiment, config: RunConfig) -> list[str | tuple[str, str]]:
    """Return texts or pairs of the scored examples, drawn so that lengths have the task's distribution."""
    task = experiment.task.task
    examples = load_task(task, config.data).splits[task.eval_split]
    numbers = np.unique(example_numbers(experiment.task.scored))
    draw = np.random.default_rng(axis_seed(0, "serving texts"))
    wanted = REQUESTS * experiment.budget.serving_processes
    drawn = draw.choice(numbers, min(wanted, len(numbers)), replace=False)
    texts = (texts_of(examples[int(number)]) for number in drawn)
    return [text[0] if len(text) == 1 else (text[0], text[1]) for text in texts]


def _summarized(
    key: str, back_end: BackEnd, rates: tuple[float, ...], started: list[_Started]
) -> ModelServing:
    reports = [one.report for one in started]
    return ModelServing(
        key=key,
        back_end=back_end,
        starts=tuple(one.start for one in started),
        batch_size=BATCH_SIZE,
        batch_length=reports[0].batch_length,
        closed_loop=tuple(
            closed_loop(
                clients,
                [of.closed[place].latencies_ms for of in reports],
                [of.closed[place].elapsed_s for of in reports],
            )
            for place, clients in enumerate(CLIENTS)
        ),
        open_loop=tuple(
            open_loop(
                rate,
                [of.open[place].latencies_ms for of in reports],
                [of.open[place].services_ms for of in reports],
            )
            for place, rate in enumerate(rates)
        ),
    )
