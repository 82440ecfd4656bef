import json
import shutil

import pytest
import torch
from helpers.training import KINDS, Reports, every_kind
from safetensors.torch import load_file, save_file

from kdbench.api.bench import model_inputs
from kdbench.errors import UsageError
from kdbench.models.build import load_base
from kdbench.models.external_teacher import check_external_teacher, gives_layers, load_external_teacher
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
        check_external_teacher(folder, experiment.task.task)


def test_classes_are_refused_where_a_value_is_asked_for(make_experiment, fine_tuned):
    experiment = make_experiment("toy-score")
    folder = fine_tuned("toy-sentiment", ("negative", "positive"))
    with pytest.raises(UsageError, match=r"has 2 outputs, but task 'toy-score' is a sequence-regression"):
        check_external_teacher(folder, experiment.task.task)


def test_a_head_for_another_kind_is_refused_and_an_encoder_is_to_be_fine_tuned(
    make_experiment, fine_tuned, tiny_model
):
    task = make_experiment("toy-tags").task.task
    folder = fine_tuned("toy-sentiment", ("negative", "positive"))
    with pytest.raises(
        UsageError, match=r"is a model for SequenceClassification, but task 'toy-tags' is a token-"
    ):
        check_external_teacher(folder, task)
    assert not check_external_teacher(tiny_model, task)
    assert check_external_teacher(folder, make_experiment().task.task)


def test_a_head_without_weights_is_refused(make_experiment, fine_tuned):
    folder = fine_tuned("toy-sentiment", ("negative", "positive"))
    weights = load_file(folder / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        UsageError, match=r"teacher given lacks the weights classifier\.weight; save it again"
    ):
        load_external_teacher(folder, make_experiment().task.task)


@pytest.mark.parametrize(
    ("changed", "fits"),
    [
        ({}, True),
        ({"num_hidden_layers": 12}, True),
        ({"hidden_size": 64}, False),
        ({"model_type": "electra"}, False),
    ],
)
def test_layers_are_given_by_a_model_of_one_architecture_and_width(tiny_model, tmp_path, changed, fits):
    folder = shutil.copytree(tiny_model, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changed))
    assert gives_layers(folder, tiny_model) == fits


def test_layers_are_not_given_by_a_model_of_another_vocabulary(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "other")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["good"], vocabulary["bad"] = vocabulary["bad"], vocabulary["good"]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert not gives_layers(folder, tiny_model)
