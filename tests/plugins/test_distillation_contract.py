"""What holds of every strategy that learns from a teacher, whatever its loss."""

import pytest
import torch
from helpers.training import KINDS, Reports, changed_budget, every_kind, same

from kdbench.api.spec import parse_spec
from kdbench.errors import UsageError
from kdbench.training.trainer import hard_label_loss, with_progress

OWN = {
    "vanilla-kd": "alpha=0.5,temperature=8.0",
    "dkd": "beta=2.0,ramp=0.5",
    "rkd": "angle_weight=3.0",
    "distilbert": "cosine_weight=3.0",
    "pkd": "match=last,beta=10.0",
    "minilm": "relation_heads=4,alpha=0.1",
    "tinybert": "temperature=3.0,layer_share=0.3",
}
"""By strategy some parameters that say nothing of the student."""
WITHOUT_TEACHER = (
    "vanilla-kd[layers=2,alpha=0.0,learning_rate=0.0001]",
    "distilbert[layers=2,soft_weight=0.0,hard_weight=3.0,cosine_weight=0.0,learning_rate=0.0001]",
    "pkd[layers=2,alpha=0.0,beta=0.0,learning_rate=0.0001]",
    "rkd[layers=2,distance_weight=0.0,angle_weight=0.0,learning_rate=0.0001]",
    "bilstm-kd[hidden_size=8,dense_size=6,alpha=1.0,augmentation=false,learning_rate=0.001]",
)
STUDENT = "layers=2,init=base,dropout=0.0,learning_rate=0.003"
STEPS = 24
FALLING = (
    f"vanilla-kd[{STUDENT}]",
    f"distilbert[{STUDENT}]",
    f"distilbert[{STUDENT},soft_weight=0.0,hard_weight=0.0]",
    f"pkd[{STUDENT}]",
    f"rkd[{STUDENT}]",
    f"pkd[{STUDENT},match=last,alpha=0.0,beta=5000.0]",
    "bilstm-kd[augmentation=false,hidden_size=8,dense_size=6,dropout=0.0,learning_rate=0.01]",
)
STAGED = {"minilm": "relation", "tinybert": "layer"}
"""Strategies of two stages, and what the first of them matches."""


@pytest.mark.parametrize("name", OWN)
def test_its_control_is_the_same_student_on_labels_alone(registry, name):
    def control(params):
        return registry.control(registry.strategy(parse_spec(f"{name}[{params}]")))

    assert control(OWN[name]) == parse_spec("hard-labels")
    student = "layers=[0,2],init=base,learning_rate=0.001,dropout=0.2"
    found, expected = (
        registry.strategy(spec)
        for spec in (control(f"{OWN[name]},{student}"), parse_spec(f"hard-labels[{student}]"))
    )
    assert type(found) is type(expected)
    assert found.params.model_dump() == expected.params.model_dump()


@every_kind
@pytest.mark.parametrize("spec", WITHOUT_TEACHER)
def test_without_weight_on_the_teacher_it_is_its_control_bit_for_bit(make_bench, registry, spec, task):
    strategy, bench = make_bench(spec, task, seed=2)
    control, at = make_bench(registry.strategy(registry.control(strategy)), task, seed=2)
    assert same(strategy.fit(bench), control.fit(at))


@pytest.mark.parametrize("name", OWN)
def test_it_sees_the_batches_of_its_control_whatever_its_stages(make_bench, name):
    def order(spec):
        strategy, bench = make_bench(spec, seed=5)
        seen, train = [], bench.train

        def noting(model, loss=None, **settings):
            loss = loss or hard_label_loss(lambda batch: bench.kind)

            def noted(student, batch, teacher, progress):
                seen.append(batch["id"].tolist())
                return with_progress(loss)(student, batch, teacher, progress)

            return train(model, loss=noted, **settings)

        bench.train = noting
        strategy.fit(bench)
        return seen

    assert order(name) == order("hard-labels")


@pytest.mark.parametrize("name", ["distilbert", "pkd"])
def test_a_student_of_another_width_is_refused_with_what_to_do(make_bench, name):
    strategy, bench = make_bench(f"{name}[hidden_size=16]")
    with pytest.raises(UsageError, match=rf"'{name}'.* 16 wide and the teacher's 32.*leave out hidden_size"):
        strategy.fit(bench)


@pytest.mark.slow
@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize("spec", FALLING)
def test_its_loss_falls_on_one_batch(make_bench, spec, task):
    reports = Reports()
    strategy, bench = make_bench(spec, task, report=reports, budget=changed_budget(STEPS, train_examples=8))
    strategy.fit(bench)
    losses = [loss for _, loss in reports.losses]
    assert len(losses) == STEPS
    assert {run.examples for run in bench.runs} == {STEPS * 8}
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("tinybert", "hidden_size=32"),
        ("tinybert", "hidden_size=16"),
        ("minilm", "hidden_size=32,relation_heads=8"),
        ("minilm", "hidden_size=16,relation_heads=1"),
    ],
)
def test_its_first_stage_comes_to_match_on_one_batch(make_bench, name, params):
    matched, reports = STAGED[name], Reports()
    strategy, bench = make_bench(
        f"{name}[layers=2,{params},{matched}_share=0.95,{matched}_learning_rate=0.01,dropout=0.0]",
        report=reports,
        budget=changed_budget(20, train_examples=8),
    )
    strategy.fit(bench)
    losses = [loss for steps, loss in reports.losses if steps == 19]
    assert losses[-1] < losses[0] / 2


@every_kind
@pytest.mark.parametrize("name", STAGED)
def test_both_stages_train_a_plain_student_within_the_budgets_steps(make_bench, name, task):
    strategy, bench = make_bench(f"{name}[layers=2,{STAGED[name]}_share=0.3]", task, budget=changed_budget(5))
    start = bench.student(strategy.params)
    model = strategy.fit(bench)
    assert [run.steps for run in bench.runs] == [2, 3]
    assert [run.best_score is None for run in bench.runs] == [True, False]
    assert type(model) is type(start)
    assert model.config.num_hidden_layers == 2
    for weight in ("bert.encoder.layer.1.attention.self.query.weight", "classifier.weight"):
        assert not torch.equal(model.state_dict()[weight], start.state_dict()[weight])


@pytest.mark.parametrize(("name", "params"), [("tinybert", "temperature=1.0"), ("minilm", "alpha=1.0")])
def test_a_student_that_is_the_teacher_has_nothing_to_match(make_bench, name, params):
    reports = Reports()
    strategy, bench = make_bench(f"{name}[layers=4,dropout=0.0,{params}]", report=reports)
    strategy.fit(bench)
    # Training may compute in bfloat16. Three layers of the four begin above 0.2; labels would cost 0.7 in either stage.
    assert reports.losses[0] == (2, pytest.approx(0, abs=1e-3))
    assert reports.losses[2] == (2, pytest.approx(0, abs=1e-3))
