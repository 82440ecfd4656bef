"""Time the models of each task after all cells of a run have ended."""

from __future__ import annotations

import psutil

from kdbench.config import RunConfig
from kdbench.measure.environment import describe_environment
from kdbench.measure.latency import TimingOrder, groups_needed
from kdbench.results.paths import CellFiles
from kdbench.results.records import Record, RecordStore, Status
from kdbench.results.timings import load_timings
from kdbench.run.executor import Ended, Executor, Job, Stage
from kdbench.run.plan import Plan
from kdbench.run.progress import LATENCY, Watcher, pass_on
from kdbench.training.experiment import Experiment

THREADS = 1
"""A model that serves single requests gets one core; with more, the operating system's scheduler is timed as well."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


def run_latency_phase(config: RunConfig, plan: Plan, executor: Executor, watcher: Watcher) -> list[str]:
    """Time the models of each task of `plan` unless they were timed together before; return one line per failure."""
    failures = []
    for problem in load_timings(config.results)[1]:
        watcher.remark(problem)
    for task, experiment in (plan.experiments or {}).items():
        records = _timed_cells(config, experiment)
        keys = [record.key for record in records]
        if not keys or _is_timed(config, experiment, keys):
            continue
        teacher = next((record.key for record in records if record.is_teacher), None)
        name = f"{LATENCY}{task}"
        watcher.started(name)
        artifacts = [CellFiles(config.results, key).artifact for key in keys]
        groups = groups_needed(artifacts, experiment.budget, psutil.virtual_memory().available)
        order = TimingOrder(
            config=config, task=task, keys=keys, teacher=teacher, threads=THREADS, groups=groups
        )
        executor.start(Job(name, _stages(order), config.results / "logs" / f"latency-{task}.log"))
        ended = _wait(executor, watcher, name)
        watcher.ended(name, ended.status, ended.reason, None, ended.seconds)
        if ended.status is not Status.OK:
            failures.append(f"{name}: {ended.reason}")
    return failures


def _stages(order: TimingOrder) -> tuple[Stage, ...]:
    """Return the parts of the phase, each of which runs in a process of its own."""
    processes = [order.model_copy(update={"process": number}) for number in range(order.processes)]
    parts = [
        ("prepare_timing", order),
        *(("time_process", process) for process in processes),
    ]
    environment = {name: str(THREADS) for name in _THREAD_VARIABLES}
    return tuple(
        Stage(f"kdbench.measure.latency:{function}", argument.model_dump_json(), environment)
        for function, argument in parts
    )


def _wait(executor: Executor, watcher: Watcher, name: str) -> Ended:
    while True:
        for event in executor.poll(1.0):
            ended = pass_on(event, name, watcher)
            if ended is not None:
                return ended


def _timed_cells(config: RunConfig, experiment: Experiment) -> list[Record]:
    """Return the records of the task's cells, of this run or earlier ones, whose models exist and are to be timed."""
    records, _ = RecordStore(config.results).load()
    return [
        record
        for record in records
        if record.status is Status.OK
        and record.seed == 0
        and record.task.name == experiment.task.task.name
        and record.task.fingerprint == experiment.task.fingerprint
        and record.budget.identity() == experiment.budget.identity()
        and record.model.weights_sha256 == experiment.base.sha256
        and _has_model(CellFiles(config.results, record.key))
    ]


def _has_model(files: CellFiles) -> bool:
    # One that is damaged is that of a row outside of this plan, which would have made it again.
    return files.artifact.is_dir() and files.damage(sizes_only=True) is None


def _is_timed(config: RunConfig, experiment: Experiment, keys: list[str]) -> bool:
    """Return whether exactly these models were timed together with this machine, these libraries and this budget."""
    timings, _ = load_timings(config.results)
    return any(
        timing.task == experiment.task.task.name
        and {model.key for model in timing.models} == set(keys)
        and timing.settings == experiment.budget.latency_settings()
        and timing.machine() == timing.machine(describe_environment())
        for timing in timings
    )
