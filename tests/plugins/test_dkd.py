"""Decoupled distillation within the training loop; its loss is tested beside the others."""

import pytest
from helpers.training import Reports, changed_budget, same
from kdbench_plugins.dkd import DKD


@pytest.mark.parametrize("task", ["toy-sentiment", "toy-tags"])
def test_without_weight_on_the_teacher_it_is_its_control_bit_for_bit(make_bench, registry, task):
    strategy, bench = make_bench("dkd[layers=2,alpha=0.0,beta=0.0,learning_rate=0.0001]", task)
    control, at = make_bench(registry.strategy(registry.control(strategy)), task)
    assert same(strategy.fit(bench), control.fit(at))


def test_the_teachers_weight_rises_with_the_steps(make_bench):
    """Without the labels' loss, the first step has none at all, and later ones have what the ramp leaves."""
    losses = {}
    for ramp in (0.0, 1.0):
        reports = Reports()
        spec = f"dkd[layers=2,init=base,dropout=0.0,hard_weight=0.0,learning_rate=1e-9,ramp={ramp}]"
        strategy, bench = make_bench(
            spec, "toy-tags", report=reports, budget=changed_budget(4, train_examples=8)
        )
        strategy.fit(bench)
        losses[ramp] = [loss for _, loss in reports.losses]
    shares = [risen / full for risen, full in zip(losses[1.0], losses[0.0], strict=True)]
    assert shares == pytest.approx([0, 0.25, 0.5, 0.75], abs=0.01)


def test_two_classes_are_no_task_for_it(registry):
    strategy = DKD(DKD.Params())
    assert "vanilla-kd" in strategy.applies(registry.task("toy-sentiment"))
    assert strategy.applies(registry.task("toy-tags")) is None
