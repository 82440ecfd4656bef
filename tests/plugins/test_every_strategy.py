"""What holds of every built-in strategy within the budget `smoke`: on one kind of task each, all kinds in turn."""

import pytest
import torch
from helpers.training import no_report
from kdbench_plugins import kdbench_strategies

from kdbench.api.spec import parse_spec
from kdbench.api.strategy import JointStrategy, Transform
from kdbench.api.task import TaskKind
from kdbench.budgets import BUDGETS
from kdbench.models.artifacts import load_artifact, save_artifact
from kdbench.training.bench import TrainingBench
from kdbench.training.predict import predict

pytestmark = pytest.mark.slow

TASKS = {
    TaskKind.SEQUENCE_CLASSIFICATION: "toy-sentiment",
    TaskKind.TOKEN_CLASSIFICATION: "toy-tags",
    TaskKind.SEQUENCE_REGRESSION: "toy-score",
}
STRATEGIES = {strategy.name: strategy for strategy in kdbench_strategies()}
SERVED = {
    name: [task for kind, task in TASKS.items() if kind in strategy.kinds]
    for name, strategy in STRATEGIES.items()
}
ALONE = [
    (name, tasks[number % len(tasks)])
    for number, (name, tasks) in enumerate(SERVED.items())
    if not issubclass(STRATEGIES[name], JointStrategy)
]
JOINT = [name for name, strategy in STRATEGIES.items() if issubclass(strategy, JointStrategy)]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """One folder for all tests: a teacher is trained once for each task."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture
def bench_of(make_experiment, registry, results):
    def make(strategy, task):
        experiment = make_experiment(task, budget=BUDGETS["smoke"], results=results)
        fitted = None
        if isinstance(strategy, Transform):  # named alone it changes the fine-tuned base model
            finetune = registry.strategy(parse_spec("finetune"))
            fitted = TrainingBench(experiment, finetune, 0, no_report).finetuned()
        return TrainingBench(experiment, strategy, 0, no_report, fitted=fitted)

    return make


def check_what_is_deployed(strategy, fitted, bench, folder):
    """Finalize, save and load a model as a cell does: it must answer for every scored unit, and as it did before."""
    model = strategy.finalize(fitted, bench)
    experiment = bench.experiment
    rows = experiment.task.scored.select(range(16))

    def answers(model):
        return predict(model.to(experiment.device), rows, experiment.collate, device=experiment.device)

    before = answers(model)
    save_artifact(model, experiment.tokenizer, folder)
    after = answers(load_artifact(folder))
    outputs = max(1, len(experiment.task.task.labels))
    assert before.logits.shape == (len(before.references), outputs)
    torch.testing.assert_close(torch.tensor(after.logits), torch.tensor(before.logits), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "task"), ALONE)
def test_it_is_trained_within_the_budget_saved_and_loaded(bench_of, registry, name, task, tmp_path):
    strategy = registry.strategy(parse_spec(name)).stages[-1]
    bench = bench_of(strategy, task)
    fitted = strategy.fit(bench)
    assert sum(run.steps for run in bench.runs) <= BUDGETS["smoke"].steps[bench.experiment.kind]
    check_what_is_deployed(strategy, fitted, bench, tmp_path / "artifact")


@pytest.mark.parametrize("name", JOINT)
def test_all_tasks_are_trained_jointly_saved_and_loaded(bench_of, registry, name, tmp_path):
    strategy = registry.strategy(parse_spec(name))
    benches = {task: bench_of(strategy, task) for task in SERVED[name]}
    models = strategy.fit_jointly(benches)
    assert models.keys() == benches.keys()
    steps = [BUDGETS["smoke"].steps[bench.experiment.kind] for bench in benches.values()]
    assert sum(run.steps for bench in benches.values() for run in bench.runs) == sum(steps)
    for task, bench in benches.items():
        check_what_is_deployed(strategy, models[task], bench, tmp_path / task)
