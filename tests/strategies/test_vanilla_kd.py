import numpy as np
import pytest
import torch

from kdbench.losses import soft_target_loss, task_loss
from kdbench.spec import parse_spec
from kdbench.training.predict import predict

KINDS = ["toy-sentiment", "toy-tags", "toy-score"]


def fitted(make_bench, spec, task="toy-sentiment", **options):
    strategy, bench = make_bench(spec, task, **options)
    return strategy.finalize(strategy.fit(bench), bench)


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("task", KINDS)
def test_without_weight_on_the_teacher_it_is_its_control_bit_for_bit(make_bench, task):
    distilled = fitted(make_bench, "vanilla-kd[alpha=0.0,layers=2]", task, seed=2)
    control = fitted(make_bench, "hard-labels[layers=2]", task, seed=2)
    assert same(distilled, control)


@pytest.mark.parametrize("task", KINDS)
def test_with_it_the_model_is_another(make_bench, task):
    weak, strong = (fitted(make_bench, f"vanilla-kd[alpha={alpha}]", task) for alpha in (0.0, 1.0))
    assert not same(weak, strong)


@pytest.mark.parametrize("task", KINDS)
def test_temperature_matters_to_classes_and_not_to_values(make_bench, task):
    cool, hot = (fitted(make_bench, f"vanilla-kd[temperature={t}]", task) for t in (1.0, 8.0))
    assert same(cool, hot) == (task == "toy-score")


def test_its_control_is_the_same_student_on_labels_alone(make_bench, registry):
    def control_of(spec):
        strategy, _ = make_bench(spec)
        return strategy.control()

    assert control_of("vanilla-kd") == parse_spec("hard-labels")
    assert control_of("vanilla-kd[alpha=0.5,temperature=8.0]") == parse_spec("hard-labels")
    spec = control_of("vanilla-kd[layers=[0,2],init=base,learning_rate=0.001,alpha=0.5,dropout=0.2]")
    control = registry.strategy(spec).params
    assert control.layers == (0, 2)
    assert (control.init, control.learning_rate, control.dropout) == ("base", 0.001, 0.2)
    assert control.model_dump(exclude={"layers", "init", "learning_rate", "dropout"}) == registry.strategy(
        parse_spec("hard-labels")
    ).params.model_dump(exclude={"layers", "init", "learning_rate", "dropout"})


def test_its_first_loss_is_the_papers_formula(make_bench):
    strategy, bench = make_bench("vanilla-kd[alpha=0.3,temperature=4.0,init=base,dropout=0.0]", "toy-tags")
    told = []
    bench._report = lambda phase, step, steps, loss: told.append((phase, loss))
    seen = []

    def loss(student, batch, teacher):
        seen.append(batch)
        return task_loss(student.logits, batch["labels"])

    bench.train(bench.student(strategy.params), loss=loss)
    told.clear()
    strategy.fit(bench)
    first = next(value for phase, value in told if phase == "training")

    student, batch = bench.student(strategy.params).eval(), seen[0]
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.no_grad():
        answers, targets = student(**inputs).logits, bench.teacher(**inputs).logits
    soft = soft_target_loss(answers, targets, batch["labels"], temperature=4.0)
    expected = 0.3 * soft + 0.7 * task_loss(answers, batch["labels"])
    assert first == pytest.approx(expected.item(), rel=0.02)  # training may compute in bfloat16


def test_a_student_taught_by_the_teacher_alone_comes_to_answer_as_it_does(make_bench, tiny_budget):
    budget = tiny_budget.model_copy(
        update={"train_examples": 192, "steps": dict.fromkeys(tiny_budget.steps, 40), "evaluations": 1}
    )
    strategy, bench = make_bench("vanilla-kd[alpha=1.0,learning_rate=0.003,init=base]", budget=budget)

    def distance(model):
        rows = bench.task.scored
        student, teacher = (
            torch.tensor(predict(one, rows, bench.experiment.collate, device=bench.experiment.device).logits)
            for one in (model, bench.teacher)
        )
        labels = torch.zeros(len(student), dtype=torch.long)
        return soft_target_loss(student, teacher, labels, temperature=1.0).item()

    before = distance(bench.student(strategy.params))
    assert distance(strategy.fit(bench)) < before / 3
    assert np.isfinite(before)
