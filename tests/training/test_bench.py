import pytest
import torch
from helpers.training import KINDS, Reports, same

from kdbench.api.losses import task_loss, weighted_class_loss
from kdbench.api.params import StudentParams
from kdbench.errors import UsageError
from kdbench.training.teacher import TeacherStore


@pytest.mark.parametrize("task", KINDS)
def test_training_keeps_to_the_budget(make_bench, task):
    strategy, bench = make_bench("hard-labels", task)
    strategy.fit(bench)
    (run,) = bench.runs
    assert (run.steps, run.examples) == (4, 32)


@pytest.mark.slow
def test_a_seed_gives_the_same_model_again_and_another_seed_another(make_bench):
    def fitted(seed):
        strategy, bench = make_bench("hard-labels", seed=seed)
        return strategy.fit(bench)

    assert same(fitted(3), fitted(3))
    assert not same(fitted(3), fitted(4))


@pytest.mark.slow
def test_every_strategy_sees_the_same_examples_in_the_same_order_within_a_seed(make_bench):
    def order(spec, seed, teacher_outputs=None):
        strategy, bench = make_bench(spec, seed=seed)
        seen = []

        def loss(student, batch, teacher):
            seen.append(batch["id"].tolist())
            return task_loss(student.logits, batch["labels"])

        model = bench.base() if spec == "lora" else bench.student(strategy.params)
        bench.train(model, loss=loss, teacher_outputs=teacher_outputs)
        return seen

    once = order("hard-labels", seed=5)
    assert order("vanilla-kd[layers=1]", seed=5, teacher_outputs="logits") == once
    assert order("vanilla-kd", seed=5, teacher_outputs="hidden_states") == once
    assert order("lora", seed=5) == once
    assert order("hard-labels", seed=6) != once


def test_the_teacher_is_frozen_and_answers_without_dropout(make_bench):
    _, bench = make_bench("vanilla-kd")
    assert not bench.teacher.training
    assert not any(weight.requires_grad for weight in bench.teacher.parameters())
    assert bench.teacher is bench.teacher


@pytest.mark.parametrize("init", ["teacher", "base", "random"])
def test_what_a_strategy_draws_itself_does_not_depend_on_who_trained_the_teacher(make_bench, tmp_path, init):
    def projection(results):
        _, bench = make_bench("vanilla-kd", results=results)
        student = bench.student(StudentParams(layers=2, init=init))
        return torch.nn.Linear(student.config.hidden_size, bench.teacher.config.hidden_size).weight

    trains_it = projection(tmp_path / "fresh")
    finds_it = projection(tmp_path / "fresh")
    assert torch.equal(trains_it, finds_it)


@pytest.mark.parametrize("asked", ["hidden_states", "attentions"])
def test_teacher_outputs_show_layers_of_both_where_they_are_asked_for(make_bench, asked):
    strategy, bench = make_bench("vanilla-kd", "toy-tags")
    shapes = []

    def loss(student, batch, teacher):
        rows, length = batch["input_ids"].shape
        shapes.append((rows, length))
        assert [state.shape for state in student.hidden_states] == [(rows, length, 32)] * 4
        assert [state.shape for state in teacher.hidden_states] == [(rows, length, 32)] * 5
        if asked == "attentions":
            assert student.attentions[0].shape == teacher.attentions[0].shape == (rows, 2, length, length)
        else:
            assert student.attentions is teacher.attentions is None
        return (student.hidden_states[-1] - teacher.hidden_states[-1]).square().mean()

    bench.train(bench.student(strategy.params), loss=loss, teacher_outputs=asked)
    assert len(shapes) == 4


def test_the_teacher_is_trained_even_where_gradients_are_switched_off(make_bench):
    _, bench = make_bench("vanilla-kd")
    with torch.no_grad():
        assert bench.teacher.config.num_labels == 2
    assert TeacherStore(bench.experiment, 0).run().steps == 4


def test_only_known_teacher_outputs_can_be_asked_for(make_bench):
    _, bench = make_bench("vanilla-kd")
    with pytest.raises(ValueError, match=r"'all'.*'logits', 'hidden_states', 'attentions' or 'none'"):
        bench.train(bench.base(), teacher_outputs="all")


@pytest.mark.slow
def test_the_teachers_time_is_charged_to_who_uses_it(make_bench):
    strategy, bench = make_bench("vanilla-kd")
    strategy.fit(bench)
    store = TeacherStore(bench.experiment, 0)
    assert bench.teacher_cost == store.training() + store.logits(bench.task.train)[1]

    strategy, bench = make_bench("hard-labels")  # starts from the teacher's layers, asks it nothing
    strategy.fit(bench)
    assert bench.teacher_cost == store.training()
    assert store.training().cpu > 0

    for spec in ("hard-labels[init=base]", "lora", "finetune[dropout=0.2]"):
        strategy, bench = make_bench(spec)
        strategy.fit(bench)
        assert bench.teacher_cost.wall == 0


@pytest.mark.parametrize("params", ["init=base", "init=random", "hidden_size=16"])
def test_no_teacher_is_trained_for_a_student_that_takes_nothing_of_it(make_bench, params):
    strategy, bench = make_bench(f"hard-labels[{params}]")
    strategy.fit(bench)
    assert not TeacherStore(bench.experiment, 0).exists()


def test_the_phases_of_training_are_reported_step_by_step(make_bench):
    reports = Reports()
    strategy, bench = make_bench("vanilla-kd", report=reports)
    strategy.fit(bench)
    assert [report[:3] for report in reports.all] == [
        (phase, step, 4) for phase in ("training the teacher", "training") for step in (1, 2, 3, 4)
    ]
    assert all(isinstance(report[3], float) for report in reports.all)


@pytest.mark.slow
def test_the_learning_rate_is_the_strategys_own_unless_the_user_sets_one(make_bench):
    def moved(spec):
        _, bench = make_bench(spec)
        model = bench.base()
        before = model.classifier.weight.detach().clone()
        bench.train(model)
        return (model.classifier.weight - before).abs().max().item()

    assert moved("lora[warmup=0.1]") == moved("finetune[learning_rate=0.002]")
    assert moved("lora[warmup=0.1]") > 5 * moved("finetune")


@pytest.mark.parametrize("init", ["teacher", "base"])
def test_a_student_made_of_the_teacher_has_its_head_and_one_of_the_base_a_new_one(make_bench, init):
    _, bench = make_bench("vanilla-kd")
    student = bench.student(StudentParams(layers=2, init=init))
    assert torch.equal(student.classifier.weight, bench.teacher.classifier.weight) == (init == "teacher")


def test_dropout_is_the_students_and_not_the_teachers(make_bench):
    strategy, bench = make_bench("vanilla-kd[dropout=0.3]")
    for model in (bench.base(), bench.student(strategy.params)):
        assert model.config.hidden_dropout_prob == model.config.attention_probs_dropout_prob == 0.3
    assert bench.teacher.config.hidden_dropout_prob == 0.1


def test_the_bench_shows_task_budget_and_parameters(make_bench, tiny_budget):
    strategy, bench = make_bench("lora[r=2]", "toy-score", seed=9)
    assert bench.task.task.name == "toy-score"
    assert bench.budget == tiny_budget
    assert bench.params is strategy.params
    assert bench.seed == 9


def test_class_weights_and_focus_change_the_label_loss_and_leave_the_teacher_alone(make_bench):
    plain, weighted = (
        make_bench(spec)[1] for spec in ("vanilla-kd", "vanilla-kd[class_weights=balanced,focal_gamma=2]")
    )
    logits, labels = torch.tensor([[0.0, 1.0], [2.0, 0.0]]), torch.tensor([0, 1])
    assert plain.kind.weighting is None
    counts = plain.task.label_counts
    expected = tuple(sum(counts.values()) / (2 * count) for count in counts.values())
    assert weighted.kind.weighting.weights == pytest.approx(expected)
    assert weighted.kind.weighting.gamma == 2
    settings = {"temperature": 2.0, "alpha": 0.5}
    assert plain.kind.distillation_loss(logits, logits, labels, **settings) == pytest.approx(
        0.5 * plain.kind.label_loss(logits, labels).item()
    )
    assert weighted.kind.distillation_loss(logits, logits, labels, **settings) == pytest.approx(
        0.5 * weighted_class_loss(logits, labels, weights=expected, gamma=2.0).item()
    )
    assert weighted.experiment.kind.weighting is None
    assert TeacherStore(plain.experiment, 0).folder == TeacherStore(weighted.experiment, 0).folder


def test_a_regression_refuses_class_weights_in_one_line(make_bench):
    strategy, bench = make_bench("hard-labels[class_weights=balanced]", "toy-score")
    with pytest.raises(UsageError, match="no effect on a sequence-regression task; leave them out"):
        strategy.fit(bench)
