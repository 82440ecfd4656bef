import pytest
import torch
from helpers.controls import control_of
from helpers.training import KINDS, same

from kdbench.api.params import FINE_TUNING_RATES
from kdbench.api.spec import parse_spec
from kdbench.api.task import TaskKind
from kdbench.training.teacher import TeacherStore


@pytest.mark.parametrize(("task", "seed"), [*((task, 0) for task in KINDS), (KINDS[0], 1)])
def test_with_defaults_it_is_its_seed_s_teacher(make_bench, task, seed):
    strategy, bench = make_bench("finetune", task, seed=seed)
    model = strategy.finalize(strategy.fit(bench), bench)
    store = TeacherStore(bench.experiment, seed)
    assert same(model, store.load())
    assert bench.is_teacher
    assert bench.runs == [store.run()]


def teacher(make_bench):
    """The teacher, as a strategy that learns from it is given it."""
    return make_bench("vanilla-kd")[1].teacher


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["finetune[dropout=0.3]", "finetune[learning_rate=0.001]"])
def test_with_another_parameter_it_is_not(make_bench, spec):
    strategy, bench = make_bench(spec)
    model = strategy.fit(bench)
    assert not bench.is_teacher
    assert not same(model, teacher(make_bench))


def test_every_weight_is_trained(make_bench):
    strategy, bench = make_bench("finetune", seed=1)
    before = dict(bench.base().named_parameters())
    model = strategy.fit(bench)
    # Position rows beyond the longest text, and word pieces that no text has, are all that may stay.
    unmoved = {name for name, weight in model.named_parameters() if torch.equal(weight, before[name])}
    assert unmoved == set()


def test_naming_the_rate_that_is_the_default_gives_the_teachers_weights(make_bench):
    strategy, bench = make_bench(
        f"finetune[learning_rate={FINE_TUNING_RATES[TaskKind.SEQUENCE_CLASSIFICATION]}]"
    )
    assert same(strategy.fit(bench), teacher(make_bench))


@pytest.mark.slow
def test_the_teacher_may_take_more_steps_than_every_other_row(make_bench, tiny_budget):
    budget = tiny_budget.model_copy(update={"teacher_factor": 2.5})
    steps = tiny_budget.steps_for(TaskKind.SEQUENCE_CLASSIFICATION, 64)
    for spec, seed, expected in [
        ("finetune", 0, 2.5 * steps),
        ("finetune", 1, 2.5 * steps),
        ("finetune[steps=budget]", 0, steps),
        ("lora", 0, steps),
    ]:
        strategy, bench = make_bench(spec, seed=seed, budget=budget)
        strategy.fit(bench)
        assert [run.steps for run in bench.runs] == [expected]


def test_what_trains_few_weights_is_held_against_all_weights_in_as_many_steps(registry):
    for name in ("lora", "bitfit", "prefix-tuning", "adapter-houlsby"):
        control = registry.strategy(control_of(registry.strategy(parse_spec(name))))
        assert (control.name, control.params.steps) == ("finetune", "budget")
