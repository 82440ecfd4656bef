"""Time the models of each task after all cells of a run have ended."""

from __future__ import annotations

import psutil
from pydantic import BaseModel

from kdbench.config import RunConfig
from kdbench.export.serving import ServingOrder
from kdbench.measure.environment import describe_environment
from kdbench.measure.latency import TimingOrder, groups_needed
from kdbench.results.paths import CellFiles
from kdbench.results.records import Record, RecordStore, Status
from kdbench.results.timings import Timing, load_timings
from kdbench.run.executor import Ended, Executor, Job, Stage
from kdbench.run.plan import Plan
from kdbench.run.progress import LATENCY, Watcher, pass_on
from kdbench.training.experiment import Experiment
from kdbench.utils.system import THREAD_VARIABLES

THREADS = 1
"""A model that serves single requests gets one core; with more, the operating system's scheduler is timed as well."""


def run_latency_phase(config: RunConfig, plan: Plan, executor: Executor, watcher: Watcher) -> list[str]:
    """Time the models of each task of `plan` unless they were timed together before; return one line per failure.

    Where the budget says so, the timed models then serve requests, unless they did.
    """
    failures = []
    for problem in load_timings(config.results)[1]:
        watcher.remark(problem)
    for task, experiment in (plan.experiments or {}).items():
        records = _timed_cells(config, experiment)
        keys = [record.key for record in records]
        if not keys:
            continue
        teacher = next((record.key for record in records if record.is_teacher), None)
        failure = None
        if _timing(config, experiment, keys) is None:
            failure = _run(_latency_job(config, task, experiment, keys, teacher), executor, watcher)
        if failure is None and _is_to_serve(config, experiment, keys):
            if teacher is None:
                watcher.remark(
                    f"the models of {task} do not serve requests: the teacher, whose capacity sets the rates, has no model"
                )
            else:
                failure = _run(_serving_job(config, task, keys, teacher), executor, watcher)
        failures += [failure] if failure else []
    return failures


def _latency_job(
    config: RunConfig, task: str, experiment: Experiment, keys: list[str], teacher: str | None
) -> Job:
    """Return the job whose parts, each in a process of its own, time the models `keys`."""
    artifacts = [CellFiles(config.results, key).artifact for key in keys]
    groups = groups_needed(artifacts, experiment.budget, psutil.virtual_memory().available)
    order = TimingOrder(config=config, task=task, keys=keys, teacher=teacher, threads=THREADS, groups=groups)
    processes = [order.model_copy(update={"process": number}) for number in range(order.processes)]
    stages = (
        _stage("kdbench.measure.latency:prepare_timing", order),
        *(_stage("kdbench.measure.latency:time_process", process) for process in processes),
    )
    return Job(f"{LATENCY}{task}", stages, config.results / "logs" / f"latency-{task}.log")


def _serving_job(config: RunConfig, task: str, keys: list[str], teacher: str) -> Job:
    order = ServingOrder(config=config, task=task, keys=keys, teacher=teacher, threads=THREADS)
    stage = _stage("kdbench.export.serving:serve_models", order)
    return Job(f"{LATENCY}{task} under load", (stage,), config.results / "logs" / f"serving-{task}.log")


def _stage(function: str, order: BaseModel) -> Stage:
    return Stage(function, order.model_dump_json(), dict.fromkeys(THREAD_VARIABLES, str(THREADS)))


def _run(job: Job, executor: Executor, watcher: Watcher) -> str | None:
    """Run `job` to its end; return a line if it failed."""
    watcher.started(job.id)
    executor.start(job)
    ended = _wait(executor, watcher, job.id)
    watcher.ended(job.id, ended.status, ended.reason, None, ended.seconds)
    return None if ended.status is Status.OK else f"{job.id}: {ended.reason}"


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


def _timing(config: RunConfig, experiment: Experiment, keys: list[str]) -> Timing | None:
    """Return the timing of exactly these models together with this machine, these libraries and this budget."""
    timings, _ = load_timings(config.results)
    return next(
        (
            timing
            for timing in timings
            if timing.task == experiment.task.task.name
            and {model.key for model in timing.models} == set(keys)
            and timing.settings == experiment.budget.latency_settings()
            and timing.machine() == timing.machine(describe_environment())
        ),
        None,
    )


def _is_to_serve(config: RunConfig, experiment: Experiment, keys: list[str]) -> bool:
    """Return whether the budget lets models serve requests, and these have not in as many processes."""
    processes = experiment.budget.serving_processes
    timing = _timing(config, experiment, keys)
    if not processes or timing is None:
        return False
    return timing.serving is None or timing.serving.processes != processes
