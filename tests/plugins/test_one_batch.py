"""What holds of every loss that a teacher has part in: trained on one batch again and again, it falls."""

import pytest

from kdbench.api.spec import parse_spec
from kdbench.api.task import TaskKind
from kdbench.training.bench import TrainingBench

KINDS = ["toy-sentiment", "toy-tags", "toy-score"]
STEPS = 24
SPECS = (
    "vanilla-kd[layers=2,init=base,dropout=0.0,learning_rate=0.003]",
    "distilbert[layers=2,init=base,dropout=0.0,learning_rate=0.003]",
    "distilbert[layers=2,init=base,dropout=0.0,learning_rate=0.003,soft_weight=0.0,hard_weight=0.0]",
    "pkd[layers=2,init=base,dropout=0.0,learning_rate=0.003]",
    "pkd[layers=2,init=base,dropout=0.0,learning_rate=0.003,match=last,alpha=0.0,beta=5000.0]",
    "bilstm-kd[augmentation=false,hidden_size=8,dense_size=6,dropout=0.0,learning_rate=0.01]",
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """One folder for all tests: a teacher is trained once for each task."""
    return tmp_path_factory.mktemp("results")


@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize("spec", SPECS)
def test_its_loss_falls_on_one_batch(make_experiment, registry, tiny_budget, results, spec, task):
    budget = tiny_budget.model_copy(
        update={"train_examples": 8, "steps": dict.fromkeys(TaskKind, STEPS), "evaluations": 1}
    )
    strategy, losses = registry.strategy(parse_spec(spec)), []

    def report(phase, step, steps, loss):
        if phase == "training":
            losses.append(loss)

    bench = TrainingBench(make_experiment(task, budget=budget, results=results), strategy, 0, report)
    strategy.fit(bench)
    assert len(losses) == STEPS
    assert {run.examples for run in bench.runs} == {STEPS * 8}
    assert losses[-1] < 0.8 * losses[0]
