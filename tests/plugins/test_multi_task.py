from math import log
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.controls import control_of
from helpers.training import no_report
from kdbench_plugins.multi_task import SAMPLING, MultiTask, MultiTaskKD

from kdbench import TaskKind
from kdbench.api.spec import parse_spec
from kdbench.models.base import resolve_base_model
from kdbench.plugins import load_registry
from kdbench.results.paths import CellFiles
from kdbench.results.records import RecordStore, Status
from kdbench.run.cell import CellOrder, score_cell, train_cell
from kdbench.run.keys import cell_key
from kdbench.training.bench import TrainingBench
from kdbench.training.experiment import make_experiment as open_task
from kdbench.training.multi_task_batches import task_order

PLUGIN = '''
from kdbench import hookimpl
from kdbench_plugins.multi_task import MultiTaskKD


class Tried(MultiTaskKD):
    """The strategy by a name that no installed plugin has."""

    name = "tried"


@hookimpl
def kdbench_strategies():
    return [Tried]
'''


@pytest.fixture
def fit(make_experiment):
    """Fit a strategy on some tasks; return models and benches."""

    def run(strategy, tasks=("toy-sentiment", "toy-tags"), seed=0, report=no_report):
        benches = {task: TrainingBench(make_experiment(task), strategy, seed, report) for task in tasks}
        return strategy.fit_jointly(benches), benches

    return run


def with_params(strategy, **params):
    return strategy(strategy.Params(**params))


def weights_of(models):
    return {f"{task}.{name}": v for task in models for name, v in models[task].state_dict().items()}


def same(first, second):
    first, second = weights_of(first), weights_of(second)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_sampling_decides_how_often_a_task_comes(make_experiment, tiny_budget):
    large = tiny_budget.model_copy(
        update={"train_examples": 128, "batch_size": dict.fromkeys(tiny_budget.steps, 2)}
    )
    strategy = with_params(MultiTask, sampling="square-root")
    benches = {
        task: TrainingBench(make_experiment(task, budget=budget), strategy, 0, no_report)
        for task, budget in (("toy-sentiment", large), ("toy-tags", tiny_budget))
    }
    strategy.fit_jointly(benches)
    steps = [bench.runs[0].steps for bench in benches.values()]
    assert steps == [6, 2]  # 64 batches a pass and 8: in proportion the second would come once


def test_shares_are_those_of_the_papers():
    assert MultiTask.Params.model_fields["sampling"].annotation.__args__ == tuple(SAMPLING)
    for name in SAMPLING.keys() - {"own"}:
        share = task_order([100, 1], 2000, SAMPLING[name]).count(1) / 2000
        expected = {"proportional": 1 / 101, "three-quarters": 1 / (1 + 100**0.75), "square-root": 1 / 11}
        expected["uniform"] = 1 / 2
        if name == "annealed":  # alpha = 1 - 0.8 t, whose mean share is an integral
            t = np.linspace(0, 1, 100_001)
            expected[name] = np.mean(1 / (1 + 100 ** (1 - 0.8 * t)))
        assert share == pytest.approx(expected[name], abs=0.001)


def test_without_weight_on_the_teachers_it_is_its_control_bit_for_bit(fit):
    distilled, _ = fit(with_params(MultiTaskKD, annealing=False, distill_weight=0.0), seed=2)
    control, _ = fit(MultiTask(MultiTask.Params()), seed=2)
    assert same(distilled, control)


def test_its_control_is_the_same_training_on_labels_alone():
    def control(**params):
        return control_of(with_params(MultiTaskKD, **params))

    assert control(annealing=False, distill_weight=0.9) == parse_spec("multi-task")
    spec = control(sampling="square-root", balance="norm", learning_rate=0.001, distill_weight=0.9)
    assert spec == parse_spec("multi-task[sampling=square-root,balance=norm,learning_rate=0.001]")
    MultiTask.Params(**spec.params)


def ask(strategy, student, teacher, labels, progress=0.0):
    student, teacher = (SimpleNamespace(logits=torch.tensor(logits)) for logits in (student, teacher))
    return strategy.loss(
        KINDS, student, {"task": "classes", "labels": torch.tensor(labels)}, teacher, progress
    ).item()


KINDS = {"classes": TaskKind.SEQUENCE_CLASSIFICATION, "values": TaskKind.SEQUENCE_REGRESSION}

# The student says 1/2 and 1/2, the teacher 3/4 and 1/4, and the first class is right.
HARD = log(2)
SOFT = 0.75 * log(0.75 / 0.5) + 0.25 * log(0.25 / 0.5)


@pytest.mark.parametrize(
    ("params", "progress", "hard_weight"),
    [
        ({}, 0.0, 0.0),
        ({}, 0.25, 0.25),
        ({}, 1.0, 1.0),
        ({"annealing": False}, 0.25, 0.5),
        ({"annealing": False, "distill_weight": 0.9}, 0.25, 0.1),
    ],
)
def test_labels_and_teacher_are_weighed(params, progress, hard_weight):
    strategy = with_params(MultiTaskKD, **params)
    found = ask(strategy, [[0.0, 0.0]], [[log(3), 0.0]], [0], progress)
    assert found == pytest.approx(hard_weight * HARD + (1 - hard_weight) * SOFT, rel=1e-5)


def test_a_value_is_drawn_to_the_mix_of_label_and_teacher():
    """The gradient is that of the squared distance to 0.25 * 4 + 0.75 * 8, the paper's mixed target."""
    student = torch.tensor([[2.0]], requires_grad=True)
    outputs = SimpleNamespace(logits=student)
    teacher = SimpleNamespace(logits=torch.tensor([[8.0]]))
    batch = {"task": "values", "labels": torch.tensor([4.0])}
    with_params(MultiTaskKD).loss(KINDS, outputs, batch, teacher, 0.25).backward()
    assert student.grad.item() == pytest.approx(2 * (2.0 - 7.0))


@pytest.mark.slow
def test_the_first_cell_trains_for_all_and_the_second_finds_its_model(make_config, toy_plugin, tmp_path):
    plugin = tmp_path / "tried.py"
    plugin.write_text(PLUGIN)
    tasks = ("toy-sentiment", "toy-tags")
    config = make_config(task=list(tasks), plugins={"modules": [str(toy_plugin), str(plugin)]})
    registry = load_registry(config)
    spec = parse_spec("tried[balance=norm]")
    strategy = registry.strategy(spec)
    base = resolve_base_model(config.model, config.cache_dir)
    experiments = {task: open_task(config, registry, task, base) for task in tasks}
    keys = {
        task: cell_key(strategy, experiment, 0, list(experiments.values()))
        for task, experiment in experiments.items()
    }
    phases = {task: [] for task in tasks}
    for task in tasks:
        order = CellOrder(
            config=config, spec=spec, task=task, seed=0, key=keys[task], partners=tasks
        ).model_dump_json()
        train_cell(order, lambda phase, *rest, task=task: phases[task].append(phase))
        assert all(CellFiles(config.results, key).is_trained() for key in keys.values())
        score_cell(order, no_report)
    assert "training" in phases["toy-sentiment"]
    assert phases["toy-tags"] == []

    records = {task: RecordStore(config.results).get(key) for task, key in keys.items()}
    assert all(record.status is Status.OK for record in records.values())
    assert [record.task.name for record in records.values()] == list(tasks)
    assert sum(record.cost.steps for record in records.values()) == 12
    assert records["toy-tags"].size.task_bytes == 4 * (32 * 5 + 5)
    assert records["toy-tags"].size.artifact_bytes > 100 * records["toy-tags"].size.task_bytes
    assert (
        records["toy-sentiment"].size.total_parameters == records["toy-sentiment"].size.trainable_parameters
    )
