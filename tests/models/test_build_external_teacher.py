import json
import shutil

import pytest
import torch
from helpers.training import KINDS, Reports, every_kind

from kdbench.api.bench import model_inputs
from kdbench.errors import UsageError
from kdbench.models.build import check_external_teacher, load_base, load_external_teacher
from kdbench.training.teacher import TeacherStore


@pytest.fixture
def fine_tuned(make_experiment, tmp_path):
    """Write a model for a task whose outputs stand in the order of `labels`; return its folder."""

    def write(task, labels):
        experiment = make_experiment(task)
        model = load_base(experiment.base.path, experiment.kind, labels, seed=7)
        with torch.no_grad():
            if model.classifier.bias is not None:
                model.classifier.bias.copy_(torch.arange(len(model.classifier.bias)))
        model.save_pretrained(tmp_path / "given")
        experiment.tokenizer.save_pretrained(tmp_path / "given")
        return tmp_path / "given"

    return write


def labels_of(experiment):
    return experiment.task.task.labels


@torch.no_grad()
def answers(model, experiment):
    batch = experiment.collate([experiment.task.train[i] for i in range(6)])
    return model.eval()(**model_inputs(batch)).logits


@pytest.mark.parametrize("task", KINDS)
def test_a_model_with_the_tasks_labels_in_their_order_is_taken_as_it_is(make_experiment, fine_tuned, task):
    experiment = make_experiment(task)
    folder = fine_tuned(task, labels_of(experiment))
    plain = load_base(folder, experiment.kind, labels_of(experiment), seed=0, fresh_head=False)
    given = load_external_teacher(folder, experiment.task.task)
    assert torch.equal(answers(given, experiment), answers(plain, experiment))


@pytest.mark.parametrize("task", ["toy-sentiment", "toy-tags"])
def test_outputs_in_another_order_are_put_into_the_tasks_by_name(make_experiment, fine_tuned, task):
    experiment = make_experiment(task)
    theirs = tuple(reversed(labels_of(experiment)))
    folder = fine_tuned(task, theirs)
    plain = load_base(folder, experiment.kind, theirs, seed=0, fresh_head=False)
    given = load_external_teacher(folder, experiment.task.task)
    assert given.config.id2label == dict(enumerate(labels_of(experiment)))
    torch.testing.assert_close(answers(given, experiment), answers(plain, experiment).flip(-1))


@every_kind
def test_it_is_the_teacher_of_every_strategy_and_nothing_is_trained(
    make_bench, fine_tuned, make_experiment, task
):
    experiment = make_experiment(task)
    folder = fine_tuned(task, tuple(reversed(labels_of(experiment))))
    expected = answers(load_external_teacher(folder, experiment.task.task), experiment)
    reports = Reports()
    strategy, bench = make_bench("vanilla-kd[layers=4]", task, teacher=folder, report=reports)
    torch.testing.assert_close(answers(bench.student(strategy.params), experiment), expected)
    assert torch.equal(answers(bench.teacher, experiment), expected)
    strategy.fit(bench)
    assert {phase for phase, *_ in reports.all} == {"training"}
    assert (
        bench.teacher_cost == TeacherStore(bench.experiment, 0).logits(bench.task.train)[1]
    )  # of training it nothing is known


def test_the_teachers_row_is_the_given_model(make_bench, fine_tuned, make_experiment):
    experiment = make_experiment()
    folder = fine_tuned("toy-sentiment", labels_of(experiment))
    strategy, bench = make_bench("finetune", teacher=folder)
    model = strategy.fit(bench)
    assert torch.equal(
        answers(model, experiment), answers(load_external_teacher(folder, experiment.task.task), experiment)
    )
    assert bench.is_teacher
    assert bench.runs == []


def test_its_logits_are_not_taken_for_those_over_another_budgets_rows(
    make_bench, fine_tuned, make_experiment, tiny_budget
):
    folder = fine_tuned("toy-sentiment", labels_of(make_experiment()))
    for budget in (tiny_budget, tiny_budget.model_copy(update={"train_examples": 100})):
        strategy, bench = make_bench("vanilla-kd", teacher=folder, budget=budget)
        strategy.fit(bench)  # raises where a row has no logits


def test_other_labels_are_refused_with_both_lists(make_experiment, fine_tuned):
    experiment = make_experiment()
    folder = fine_tuned("toy-sentiment", ("bad", "good"))
    with pytest.raises(
        UsageError, match=r"labels bad, good, but task 'toy-sentiment' has negative, positive"
    ):
        check_external_teacher(folder, experiment.task.task, experiment.tokenizer)


def test_classes_are_refused_where_a_value_is_asked_for(make_experiment, fine_tuned):
    experiment = make_experiment("toy-score")
    folder = fine_tuned("toy-sentiment", ("negative", "positive"))
    with pytest.raises(UsageError, match=r"has 2 outputs, but task 'toy-score' is a sequence-regression"):
        check_external_teacher(folder, experiment.task.task, experiment.tokenizer)


def test_another_vocabulary_is_refused(make_experiment, fine_tuned):
    experiment = make_experiment()
    folder = fine_tuned("toy-sentiment", labels_of(experiment))
    check_external_teacher(folder, experiment.task.task, experiment.tokenizer)
    other = folder.with_name("other")
    shutil.copytree(folder, other)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["good"], vocabulary["bad"] = vocabulary["bad"], vocabulary["good"]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(UsageError, match="teacher other has another vocabulary"):
        check_external_teacher(other, experiment.task.task, experiment.tokenizer)
