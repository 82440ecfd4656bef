"""Which models are timed together, when anew, and in what surroundings."""

from types import SimpleNamespace

import pytest
from helpers.support import key_named, make_record, make_timing

from kdbench.budgets import BUDGETS
from kdbench.export.serving import ServingOrder
from kdbench.measure.environment import describe_environment
from kdbench.measure.latency import TimingOrder, groups_needed
from kdbench.results.paths import CellFiles
from kdbench.results.records import RecordStore, Status
from kdbench.results.serving import Serving
from kdbench.results.timings import put_timing
from kdbench.run.executor import Ended
from kdbench.run.latency_phase import run_latency_phase


class Executor:
    """Takes jobs and says that they ended well."""

    def __init__(self):
        self.jobs = []

    def start(self, job):
        self.jobs.append(job)

    def poll(self, timeout_s):
        return [Ended(self.jobs[-1].id, Status.OK, None, 1.0)]


TEACHER, STUDENT = key_named("teacher"), key_named("student")


class Watcher:
    def __init__(self):
        self.remarks = []

    def remark(self, line):
        self.remarks.append(line)

    def started(self, name):
        pass

    def ended(self, *event):
        pass


@pytest.fixture
def phase(request, make_config, make_experiment):
    """Run the phase over two trained cells of a task; ``phase()`` returns the jobs."""
    config = make_config(**getattr(request, "param", {}))
    experiment = make_experiment(budget=config.resolved_budget, results=config.results)

    def record(key, **changed):
        made = make_record(key=key, seed=changed.pop("seed", 0), is_teacher=key == "teacher")
        task = made.task.model_copy(
            update={"name": experiment.task.task.name, "fingerprint": experiment.task.fingerprint}
        )
        model = made.model.model_copy(update={"weights_sha256": experiment.base.sha256})
        update = {"task": task, "model": model, "budget": experiment.budget, **changed}
        RecordStore(config.results).put(made.model_copy(update=update))
        CellFiles(config.results, made.key).artifact.mkdir(parents=True)

    def run():
        executor = Executor()
        plan = SimpleNamespace(experiments={experiment.task.task.name: experiment})
        watcher = Watcher()
        assert run_latency_phase(config, plan, executor, watcher) == []
        run.remarks = watcher.remarks
        return executor.jobs

    run.record, run.config, run.budget = record, config, experiment.budget
    record("teacher")
    record("student")
    return run


def timed(phase, **changed):
    timing = make_timing(dict.fromkeys(("teacher", "student"), 5.0), task="toy-sentiment").model_copy(
        update={
            "settings": phase.budget.latency_settings(),
            "environment": describe_environment(),
            **changed,
        }
    )
    put_timing(phase.config.results, timing)


def test_the_cells_of_a_task_are_timed_in_fresh_processes_with_one_thread_for_every_library(phase):
    (job,) = phase()
    orders = [TimingOrder.model_validate_json(stage.argument) for stage in job.stages]
    for stage, order in zip(job.stages, orders, strict=True):
        assert set(order.keys) == {TEACHER, STUDENT}
        assert (order.teacher, order.threads, order.task) == (TEACHER, 1, "toy-sentiment")
        assert set(stage.environment) == {
            "OMP_NUM_THREADS",
            "MKL_NUM_THREADS",
            "OPENBLAS_NUM_THREADS",
            "RAYON_NUM_THREADS",
        }
        assert set(stage.environment.values()) == {"1"}
    parts = [stage.function.partition(":")[2] for stage in job.stages]
    assert parts == ["prepare_timing", "time_process"]


def test_a_budget_of_several_processes_has_a_stage_for_each(phase, monkeypatch):
    monkeypatch.setitem(BUDGETS, "smoke", BUDGETS["smoke"].model_copy(update={"latency_processes": 3}))
    (job,) = phase()
    orders = [TimingOrder.model_validate_json(stage.argument) for stage in job.stages]
    assert [order.process for order in orders] == [0, 0, 1, 2]


def test_models_that_exceed_the_memory_are_timed_in_groups_each_beside_the_teacher(phase):
    keys = [key_named(str(number)) for number in range(7)]
    order = TimingOrder(
        config=phase.config, task="toy-sentiment", keys=keys, teacher=keys[3], threads=1, groups=3
    )
    assert order.processes == 3 * phase.budget.latency_processes
    parts = [order.model_copy(update={"process": number}).timed_by_process() for number in range(6)]
    for repetition in (parts[:3], parts[3:]):
        assert sorted(key for part in repetition for key in part) == sorted([*keys, keys[3], keys[3]])
        assert all(keys[3] in part for part in repetition)
    assert set(map(frozenset, parts[:3])) != set(map(frozenset, parts[3:]))  # drawn anew


@pytest.mark.parametrize(("memory_bytes", "groups"), [(10_000, 1), (1000, 4)])
def test_as_many_groups_are_needed_as_the_memory_says(tmp_path, memory_bytes, groups):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model").write_bytes(bytes(400))
    budget = BUDGETS["standard"]  # with exports 2.3 times the artifacts
    assert groups_needed([tmp_path / "a", tmp_path / "b"], budget, memory_bytes) == groups


def test_what_was_timed_together_is_not_timed_again(phase):
    timed(phase)
    assert phase() == []


def test_a_model_that_joins_has_all_timed_anew(phase):
    timed(phase)
    phase.record("another")
    assert len(phase()) == 1


def test_other_settings_of_the_phase_have_all_timed_anew_and_trained_nothing_again(phase):
    timed(phase, settings={**phase.budget.latency_settings(), "latency_seconds": 9.0})
    assert len(phase()) == 1
    other = phase.budget.model_copy(update={"latency_rounds": 999})
    phase.record("earlier", budget=other)
    (job,) = phase()
    assert set(TimingOrder.model_validate_json(job.stages[0].argument).keys) == {
        TEACHER,
        STUDENT,
        key_named("earlier"),
    }


def test_other_hardware_has_all_timed_anew(phase):
    timed(phase, environment=make_timing({}).environment)
    assert len(phase()) == 1


def test_a_newer_torch_has_all_timed_anew(phase):
    here = describe_environment()
    older = here.model_copy(update={"libraries": {**here.libraries, "torch": "2.0.0"}})
    timed(phase, environment=older)
    assert len(phase()) == 1


def test_models_of_further_seeds_and_other_budgets_are_not_timed(phase):
    phase.record("second", seed=1)
    phase.record("longer", budget=phase.budget.model_copy(update={"max_length": 16}))
    (job,) = phase()
    assert set(TimingOrder.model_validate_json(job.stages[0].argument).keys) == {TEACHER, STUDENT}


serves = pytest.mark.parametrize("phase", [{"serving": True}], indirect=True)


def served(processes):
    return Serving(processes=processes, capacity_per_s=100, cores=2, models=())


@serves
@pytest.mark.parametrize(("serving", "jobs"), [(None, 1), (served(2), 1), (served(3), 0)])
def test_models_that_were_timed_serve_unless_they_have_in_as_many_processes(phase, serving, jobs):
    timed(phase, serving=serving)
    found = phase()
    assert len(found) == jobs
    for job in found:
        (stage,) = job.stages
        order = ServingOrder.model_validate_json(stage.argument)
        assert (set(order.keys), order.teacher) == ({TEACHER, STUDENT}, TEACHER)
        assert stage.function == "kdbench.export.serving:serve_models"
        assert set(stage.environment.values()) == {"1"}


@serves
def test_without_a_teacher_no_rates_are_known_and_that_is_told(phase):
    RecordStore(phase.config.results).path(TEACHER).unlink()
    timing = make_timing({"student": 5.0}, task="toy-sentiment")
    timed_alone = {"settings": phase.budget.latency_settings(), "environment": describe_environment()}
    put_timing(phase.config.results, timing.model_copy(update=timed_alone))
    assert phase() == []
    assert phase.remarks == [
        "the models of toy-sentiment do not serve requests: the teacher, whose capacity sets the rates, has no model"
    ]
